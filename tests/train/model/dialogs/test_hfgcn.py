"""Hierarchical graphs: nodes of a turn, edges and relations between turns, the packed GRU."""

import pytest
import torch
from torch import Tensor

from foal.shared.config.fusion_settings import HfgcnSettings
from foal.shared.errors import TrainingError
from foal.train.model.architecture import Architecture
from foal.train.model.dialogs.encoder import Turns, readable
from foal.train.model.dialogs.hfgcn import DialogGraph, HfgcnEncoder, StreamGraph, relations

CPU = torch.device("cpu")


def encoder(context: str = "both", width: int = 8, **options: object) -> HfgcnEncoder:
    a = Architecture(
        frame_shapes={"audio": (4,), "face": (4,)},
        classes=2,
        width=width,
        heads=4,
        layers=1,
        dropout=0.0,
        projection_dropout=0.0,
        fusion="hfgcn",
        context=context,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HfgcnEncoder(a, HfgcnSettings(**options)).eval()  # type: ignore[arg-type]


def encode(model: HfgcnEncoder, x: Tensor, speakers: Tensor | None = None) -> Tensor:
    count = x.shape[1]
    every = torch.ones(count, dtype=torch.bool)
    numbers = torch.zeros(count, dtype=torch.long) if speakers is None else speakers
    turns = Turns([count], numbers, {"audio": every, "face": every})
    result: Tensor = model({"audio": x[0], "face": x[1]}, turns)
    return result


@torch.no_grad()
def test_an_absent_stream_is_read_by_no_other_node() -> None:
    torch.manual_seed(0)
    graph, x = StreamGraph(width=4, streams=2), torch.randn(2, 3, 4)
    present = torch.tensor([[True, True], [True, False], [False, False]])
    result = graph(x, present)
    own = [node(side)[:, 12:] for node, side in zip(graph.nodes, x, strict=True)]
    values = graph.nodes[0](x[0])[:, 8:12]
    # Face is absent: both nodes read the value of audio only. All are absent: nothing is read.
    one = graph.output(torch.cat([values + own[0], values + own[1]], 1).relu())
    none = graph.output(torch.cat(own, 1).relu())
    torch.testing.assert_close(result[1], one[1])
    torch.testing.assert_close(result[2], none[2])
    assert not torch.allclose(result[0], one[0])


def test_relations_of_two_speakers_are_all_pairs_in_both_directions() -> None:
    speakers = torch.tensor([[0, 1, 0, 1]])
    both = relations(speakers, both=True)[0]
    # (reader, read, later) -> relation, one number each
    found = {(i % 2, j % 2, j > i): int(both[i, j]) for i in range(4) for j in range(4)}
    assert sorted(found.values()) == list(range(8))
    assert all(found[i % 2, j % 2, j > i] == both[i, j] for i in range(4) for j in range(4))
    assert set(relations(speakers, both=False).flatten().tolist()) == set(range(4))
    # A third speaker is told from the first and from the second, with the weights of the second.
    third = relations(torch.tensor([[0, 1, 2]]), both=False)[0]
    assert (third[2, 0], third[2, 1], third[2, 2]) == (third[1, 0], third[1, 0], third[1, 1])


@torch.no_grad()
@pytest.mark.parametrize("both", [False, True])
def test_the_graph_equals_the_sum_over_edges(both: bool) -> None:
    torch.manual_seed(0)
    count = 8 if both else 4
    graph, g, speakers = DialogGraph(width=4, relations=count), torch.randn(1, 5, 4), torch.tensor([[0, 1, 1, 0, 2]])
    allowed, relation = readable([5], CPU, both=both, window=2), relations(speakers, both=both)
    matrices = graph.by_relation.weight.view(4, count, 4)
    hidden, edges = [], [allowed[0, i].nonzero().flatten().tolist() for i in range(5)]
    for i, read in enumerate(edges):
        scores = torch.stack([graph.edge(g[0, i]) @ g[0, j] / 2 for j in read]).softmax(0)
        messages = [weight * matrices[:, relation[0, i, j]] @ g[0, j] for weight, j in zip(scores, read, strict=True)]
        hidden.append((graph.own(g[0, i]) + torch.stack(messages).sum(0)).relu())
    expected = [
        (graph.own_second(hidden[i]) + graph.neighbours(torch.stack([hidden[j] for j in read]).mean(0))).relu()
        for i, read in enumerate(edges)
    ]
    torch.testing.assert_close(graph(g, allowed, relation)[0], torch.stack(expected))


def test_every_relation_gets_a_gradient() -> None:
    for context, count in (("past", 4), ("both", 8)):
        model = encoder(context)
        x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1))
        encode(model, x, torch.tensor([0, 1, 1, 0, 0, 1])).square().sum().backward()
        gradient = model.turns.by_relation.weight.grad
        assert gradient is not None
        assert (gradient.view(8, count, 8).abs().sum((0, 2)) > 0).all()


@torch.no_grad()
def test_without_recurrence_a_turn_reads_two_windows() -> None:
    x = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 4] += 1
    for context, expected in (("both", range(2, 7)), ("past", range(4, 7))):
        model = encoder(context, window=1, recurrent=False)
        differs = (encode(model, x) - encode(model, changed)).abs().amax(1) > 1e-6
        assert differs.nonzero().flatten().tolist() == list(expected)


@torch.no_grad()
def test_speakers_are_told_apart() -> None:
    x = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    model = encoder()
    assert not torch.allclose(encode(model, x), encode(model, x, torch.tensor([0, 1, 0, 1])))


def test_an_odd_width_is_refused_in_one_sentence() -> None:
    with pytest.raises(TrainingError, match="expected an even width with context both, got 7"):
        encoder(width=7)
    encoder("past", width=7)

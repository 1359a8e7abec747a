"""Low-rank matching attention over dialogs."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.config.fusion_settings import LmamDialogSettings
from foal.train.model.architecture import Architecture
from foal.train.model.dialogs.encoder import Turns
from foal.train.model.dialogs.lmam import LmamEncoder

ARCHITECTURE = Architecture(
    frame_shapes={"audio": (4,), "face": (4,)},
    classes=2,
    width=8,
    heads=4,
    layers=1,
    dropout=0.0,
    projection_dropout=0.0,
    fusion="lmam-dialog",
    context="both",
)
NAMES = ("audio", "face")


def encoder(context: str = "both", rank: int = 8) -> LmamEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LmamEncoder(replace(ARCHITECTURE, context=context), LmamDialogSettings(rank=rank)).eval()


def vectors(count: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(count, 8, generator=rng) for name in NAMES}


def turns_of(count: int, absent: int | None = None) -> Turns:
    present = {name: torch.ones(count, dtype=torch.bool) for name in NAMES}
    if absent is not None:
        present["face"][absent] = False
    return Turns([count], torch.zeros(count, dtype=torch.long), present)


@torch.no_grad()
def test_full_rank_is_full_matching_attention() -> None:
    model, streams = encoder(), vectors(4)
    matching = model.matching
    matrix = matching.query.weight.T @ matching.key.weight  # U P'
    matched = []
    for name, norm in zip(NAMES, matching.norms, strict=True):
        x = streams[name]
        total = torch.zeros_like(x)
        for keys in streams.values():
            scores = (x @ matrix + matching.query.bias @ matching.key.weight) @ keys.T / 8**0.5
            total += scores.softmax(1) @ keys
        matched.append(norm(F.gelu(total) + x))
    torch.testing.assert_close(model(streams, turns_of(4)), torch.cat(matched, 1))


@torch.no_grad()
def test_constant_scores_average_the_turns_that_are_read() -> None:
    for context in ("past", "both"):
        model, streams = encoder(context), vectors(3)
        torch.nn.init.zeros_(model.matching.key.weight)
        read = {
            name: torch.stack([x[: turn + 1 if context == "past" else 3].mean(0) for turn in range(3)])
            for name, x in streams.items()
        }
        total = F.gelu(read["audio"] + read["face"])
        expected = [norm(total + x) for norm, x in zip(model.matching.norms, streams.values(), strict=True)]
        torch.testing.assert_close(model(streams, turns_of(3)), torch.cat(expected, 1))


@torch.no_grad()
def test_a_turn_without_a_stream_is_a_value_of_it_for_itself_only() -> None:
    model, streams = encoder(), vectors(4)
    changed = {**streams, "face": streams["face"].index_fill(0, torch.tensor([2]), 5.0)}
    before, after = (model(x, turns_of(4, absent=2)) for x in (streams, changed))
    assert ((before != after).any(1)).tolist() == [False, False, True, False]


def test_the_number_of_parameters_does_not_depend_on_the_dialog() -> None:
    wide = LmamEncoder(replace(ARCHITECTURE, width=128), LmamDialogSettings())
    assert sum(parameter.numel() for parameter in wide.parameters()) == 4624

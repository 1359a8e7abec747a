"""AVEL embeddings of a dataset, and the scores of the MEM heads."""

from collections.abc import Callable
from dataclasses import replace

import torch

from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.evaluate.matching import MatchingScores, embeddings
from foal.train.model.foalnet import FoalNet

CPU = torch.device("cpu")
Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]


def without_face(data: Dataset, row: int) -> Dataset:
    """The dataset with all face frames of one utterance invalid."""
    assert isinstance(data.features, InMemory)
    face = data.features.streams["face"]
    valid = face.valid.clone()
    valid[face.starts[row] : face.starts[row] + face.lengths[row]] = False
    return replace(data, features=InMemory({**data.features.streams, "face": replace(face, valid=valid)}))


def test_embeddings_do_not_depend_on_the_batch(make_dataset: Make, make_model: MakeModel) -> None:
    data = without_face(make_dataset(), 5)
    model = make_model(data)
    rows = torch.tensor([9, 5, 2])
    tables = embeddings(model, data, rows, batch_size=2, device=CPU)
    all_tables = embeddings(model, data, torch.arange(len(data)), batch_size=64, device=CPU)
    for name in ("audio", "face"):
        assert tables[name].shape == (3, model.architecture.width)
        torch.testing.assert_close(tables[name], all_tables[name][rows], equal_nan=True, atol=1e-5, rtol=1e-5)
    assert tables["face"][1].isnan().all()
    assert tables["audio"].isfinite().all()


def test_matching_scores_are_repeatable(make_dataset: Make, make_model: MakeModel) -> None:
    data = make_dataset()
    model = make_model(data)
    results = []
    for _ in range(2):
        matching = MatchingScores()
        matching.add(model, data, torch.arange(24), device=CPU)
        results.append(matching.scores())
    assert results[0] == results[1]
    assert results[0] is not None
    assert results[0].keys() == {"accuracy", "auc", "auc_own", "auc_other", "pairs"}
    assert 24 < results[0]["pairs"] <= 3 * 24
    assert all(0 <= results[0][name] <= 1 for name in ("accuracy", "auc", "auc_own", "auc_other"))


def test_one_class_has_no_matching_scores(make_dataset: Make, make_model: MakeModel) -> None:
    data = make_dataset(labels=[0] * 24)
    matching = MatchingScores()
    matching.add(make_model(data), data, torch.arange(24), device=CPU)
    assert matching.scores() is None

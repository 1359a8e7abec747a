"""Checks of the fusion head before anything is fitted."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from foal.shared.config.fusion_settings import ConcatSettings, Needs
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.train.data.dataset import Dataset
from foal.train.fit.checks import check_fusion

Make = Callable[..., Dataset]
CONCAT = TrainSettings(fusion="concat")


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (Needs(streams=3), "concat needs at least 3 streams, got audio, face; add streams to train.streams"),
        (Needs(text=True), "concat needs a text stream, got audio, face; add text to train.streams"),
        (Needs(grid=True), "concat needs one frame rate in all streams, got audio 10 Hz, face 5 Hz; set"),
    ],
)
def test_what_a_head_needs_and_the_features_lack_is_one_sentence(
    make_dataset: Make, monkeypatch: pytest.MonkeyPatch, needs: Needs, message: str
) -> None:
    monkeypatch.setattr(ConcatSettings, "needs", needs)
    data = replace(make_dataset(), rates={"audio": 10.0, "face": 5.0})
    with pytest.raises(TrainingError) as caught:
        check_fusion(data, CONCAT)
    assert message in str(caught.value)


def test_vectors_per_utterance_fit_every_grid(make_dataset: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConcatSettings, "needs", Needs(grid=True, streams=2))
    check_fusion(replace(make_dataset(), rates={"audio": 10.0, "face": 1.0}), CONCAT)
    check_fusion(make_dataset(), CONCAT)


@pytest.mark.parametrize("pool", ["mean", "tokens"])
def test_text_fits_a_grid_if_it_is_pooled(make_dataset: Make, monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
    monkeypatch.setattr(ConcatSettings, "needs", Needs(grid=True))
    names, provenance = {"audio": "audio", "text": "text/bert"}, {"audio": {}, "text/bert": {"config": {"pool": pool}}}
    by_input = replace(make_dataset(), rates={"audio": 10.0, "text": 0.0}, stream_names=names, provenance=provenance)
    by_stream = replace(by_input, rates={"audio": 10.0, "text/bert": 0.0})
    for data in (by_input, by_stream):
        if pool == "mean":
            check_fusion(data, CONCAT)
        else:
            with pytest.raises(TrainingError, match=r"got audio 10 Hz, text\S* tokens"):
                check_fusion(data, CONCAT)

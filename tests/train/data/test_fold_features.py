"""Streams that differ by fold: templates, the streams of each fold, and opening one fold at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError, UsageError
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance
from foal.tests.train.fold_index import TEMPLATE, write_fold_index
from foal.train.data.dataset import open_dataset
from foal.train.data.features import InMemory
from foal.train.data.fold_features import (
    FoldDatasets,
    fold_settings,
    fold_templates,
    run_stream_names,
    with_fold_streams,
)
from foal.train.data.sequences import PackedSequences

CPU = torch.device("cpu")
SETTINGS = TrainSettings(fold_features=(TEMPLATE,))
TESTS = {1: "session1", 2: "session2", 3: "session3"}
Make = Callable[..., Path]


@pytest.fixture
def fold_index(tmp_path: Path, sample_utterances: list[Utterance], make_features: Make) -> Path:
    return write_fold_index(tmp_path, sample_utterances, make_features)


def test_a_template_is_filled_with_test_group_and_number() -> None:
    settings = TrainSettings(fold_features=("audio/ft-{test}", "face/f{fold}-{test}"))
    filled = fold_settings(settings, 2, "session2")
    assert (filled.streams, filled.fold_features) == (("audio/ft-session2", "face/f2-session2"), ())
    plain = TrainSettings(streams=("audio/a", "face"))
    assert fold_settings(plain, 2, "session2") is plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold_features": ("audio/ft",)}, r"expected a stream name with {test} or {fold}.*got audio/ft;"),
        ({"fold_features": ("text/{test}",)}, r"expected a stream of audio or face, .*got text/{test};"),
        (
            {"fold_features": (TEMPLATE,), "streams": ("face",)},
            r"expected a stream of face, .*got audio/ft-{test}; .*--streams",
        ),
        ({"fold_features": (TEMPLATE, "audio/{fold}")}, r"expected one name for audio, got .* and audio/{fold};"),
        (
            {"fold_features": (TEMPLATE,), "streams": ("audio/a",)},
            r"--streams audio/a: expected one stream of audio, but --fold-features names audio/ft-{test};",
        ),
    ],
)
def test_invalid_templates_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fold_templates(TrainSettings.model_validate(settings))


def test_the_run_lists_the_streams_of_every_fold_without_reading_values(fold_index: Path) -> None:
    with open_dataset(fold_index, SETTINGS, classes=None) as opened:
        data = with_fold_streams(opened, fold_index, SETTINGS, TESTS)
    assert data.features.frame_shapes == {}
    assert data.stream_names == {"audio": TEMPLATE, "face": "face"}
    assert data.fold_streams[2] == {"audio": "audio/ft-session2", "face": "face"}
    names = ["audio/ft-session1", "face", "audio/ft-session2", "audio/ft-session3"]
    assert list(data.provenance) == names
    assert data.rates == dict.fromkeys(names, 10.0)
    assert data.random_weights
    assert len(set(data.warnings)) == len(data.warnings)
    assert sum("have no face" in text for text in data.warnings) == 1
    with FeatureStore(fold_index) as store:
        assert run_stream_names(store, SETTINGS) == data.stream_names


def test_a_dataset_of_shared_streams_is_returned_unchanged(feats: Path) -> None:
    with open_dataset(feats, TrainSettings(), classes=None) as data:
        assert with_fold_streams(data, feats, TrainSettings(), TESTS) is data


def test_a_missing_stream_is_named_with_its_fold(fold_index: Path) -> None:
    with open_dataset(fold_index, SETTINGS, classes=None) as data, pytest.raises(TrainingError) as caught:
        with_fold_streams(data, fold_index, SETTINGS, {**TESTS, 4: "session4"})
    assert str(caught.value) == (
        f"{fold_index}: expected the stream audio/ft-session4 for fold 4 (test session4), got only audio/ft-session1, "
        "audio/ft-session2, audio/ft-session3, face; extract or import it, or change --fold-features"
    )


def test_one_fold_is_open_at_a_time_and_tasks_of_a_fold_share_it(fold_index: Path) -> None:
    def audio_of(number: int) -> PackedSequences:
        data = datasets.open(fold_settings(SETTINGS, number, TESTS[number]))
        assert isinstance(data.features, InMemory)
        return data.features.streams["audio"]

    with FoldDatasets(fold_index, SETTINGS, classes=None, device=CPU) as datasets:
        first = audio_of(1)
        assert audio_of(1) is first
        second = audio_of(2)
        assert not torch.equal(first.values[:8], second.values[:8])
        again = audio_of(1)
        assert again is not first
        assert torch.equal(again.values, first.values)

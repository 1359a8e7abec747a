"""`foal predict` from clips to probabilities, and as a command."""

import json
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from foal.extract.run import extract
from foal.predict.cli import predict as command
from foal.predict.run import PredictOptions, predict
from foal.predict.sources import Clips, find_clips
from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import EncoderError, FoalError, StoreError, UsageError
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance
from foal.tests.predict.small_model import FRAMES, train_run, write_clip
from foal.train.data.dataset import open_dataset
from foal.train.evaluate.ensemble import assign_models, load_fold_models
from foal.train.evaluate.run import probability_tables

SETTINGS = Settings()


def clips_in(folder: Path) -> Clips:
    return find_clips([str(folder)], root=folder)


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    for number in range(3):
        write_clip(tmp_path / "clips" / f"c{number}.avi", seconds=1 + number / 2, hz=250 + 200 * number)
    return clips_in(tmp_path / "clips")


def test_each_clip_has_probabilities_and_nothing_is_missing(clips: Clips, run: Path, tmp_path: Path) -> None:
    result = predict(clips, run, SETTINGS, PredictOptions(features=tmp_path / "cache"))
    assert [row.name for row in result.predictions] == ["c0.avi", "c1.avi", "c2.avi"]
    assert result.classes == ("hap", "sad")
    for row, seconds in zip(result.predictions, (1.0, 1.5, 2.0), strict=True):
        assert row.probabilities.sum() == pytest.approx(1)
        assert (row.part, row.missing, row.start) == ("clip", {}, 0.0)
        assert row.end == pytest.approx(seconds, abs=0.1)
    assert result.exit_code == 0
    assert any("random weights" in warning for warning in result.warnings)


@pytest.mark.slow
def test_the_probabilities_are_those_of_extract_and_evaluate(clips: Clips, run: Path, tmp_path: Path) -> None:
    """The promise of the command: the same clip both ways."""
    result = predict(clips, run, SETTINGS, PredictOptions(features=tmp_path / "cache"))
    rows = [
        Utterance(id=f"c{n}", corpus="other", session="new", label="hap", audio=f"c{n}.avi", video=f"c{n}.avi")
        for n in range(3)
    ]
    write_manifest(tmp_path / "manifest.csv", rows)
    settings = Settings.model_validate(
        {
            "corpus": {"root": tmp_path / "clips", "manifest": tmp_path / "manifest.csv"},
            "extract": {**FRAMES, "features_dir": tmp_path / "features"},
            "cluster": {"workers": 1},
        }
    )
    extract(settings, ["all"], index=tmp_path / "feats.h5")
    models = load_fold_models(run)
    training = TrainSettings.model_validate(models[0].metadata["settings"])
    with open_dataset(tmp_path / "feats.h5", training, classes=models[0].metadata["classes"]) as data:
        ensembles = assign_models(models, data, torch.arange(len(data)))
        tables = probability_tables(lambda model: data, ensembles, torch.device("cpu"))
    assert np.allclose(tables.mean(0), [row.probabilities for row in result.predictions], atol=1e-6)


def test_windows_follow_their_clip(clips: Clips, run: Path, tmp_path: Path) -> None:
    result = predict(clips, run, SETTINGS, PredictOptions(features=tmp_path / "cache", window=1.5, hop=0.25))
    parts = [(row.name, row.part) for row in result.predictions]
    assert parts == [
        ("c0.avi", "clip"),
        ("c0.avi", "window"),
        ("c1.avi", "clip"),
        ("c1.avi", "window"),
        ("c2.avi", "clip"),
        *[("c2.avi", "window")] * 3,
    ]
    short, *_, last = [row for row in result.predictions if row.part == "window"]
    assert "not longer than a window" in short.note
    assert np.allclose(short.probabilities, result.predictions[0].probabilities, atol=1e-6)
    assert last.end == pytest.approx(2.0, abs=0.1)


def test_pieces_are_predicted_on_their_own(clips: Clips, run: Path, tmp_path: Path) -> None:
    options = PredictOptions(features=tmp_path / "cache", segments="fixed", piece=1.0)
    names = [row.name for row in predict(clips, run, SETTINGS, options).predictions]
    assert names[0] == "c0.avi#0.00-1.00"
    assert names[-1].startswith("c2.avi#1.00-2.0")


def test_the_inputs_that_are_missing_are_named(run: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "mute.avi", sound=False)
    write_clip(tmp_path / "clips" / "voice.avi", picture=False)
    mute, voice = predict(
        clips_in(tmp_path / "clips"), run, SETTINGS, PredictOptions(features=tmp_path / "cache")
    ).predictions
    assert mute.missing == {"audio": "no audio track"}
    assert voice.missing == {"face": "no video track"}
    for row in (mute, voice):
        assert row.probabilities.sum() == pytest.approx(1)


def test_the_others_are_predicted_if_one_is_damaged_or_empty(clips: Clips, run: Path, tmp_path: Path) -> None:
    (tmp_path / "clips" / "a-bad.avi").write_bytes(b"no media")
    row = Utterance(id="words", corpus="x", session="x", transcript="only words")
    all_clips = clips_in(tmp_path / "clips")
    all_clips = replace(all_clips, utterances=(*all_clips.utterances, row), names={**all_clips.names, "words": "words"})
    result = predict(all_clips, run, SETTINGS, PredictOptions(features=tmp_path / "cache"))
    assert len(result.predictions) == 3
    reasons = {failed.name: failed.reason for failed in result.failures}
    assert "expected a media file" in reasons["a-bad.avi"]
    assert reasons["words"].startswith("no sound and no face: nothing to predict from")
    assert result.exit_code == 3


def test_if_nothing_can_be_predicted_it_is_one_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"no media")
    (tmp_path / "b.avi").write_bytes(b"no media")
    options = PredictOptions(features=tmp_path / "cache")
    with pytest.raises(FoalError, match=r"^a.avi: expected a media file"):
        predict(find_clips([str(tmp_path / "a.avi")], root=tmp_path), run, SETTINGS, options)
    with pytest.raises(FoalError, match=r"^none of 2 clips could be predicted; the first: a.avi"):
        predict(find_clips([str(tmp_path / "*.avi")], root=tmp_path), run, SETTINGS, options)


def test_a_fold_is_a_part_of_the_ensemble(clips: Clips, run: Path, tmp_path: Path) -> None:
    options = PredictOptions(features=tmp_path / "cache")
    whole = predict(clips, run, SETTINGS, options)
    folds = [model.fold for model in load_fold_models(run)]
    single = [predict(clips, run, SETTINGS, options, fold=fold) for fold in folds]
    mean = np.mean([[row.probabilities for row in result.predictions] for result in single], axis=0)
    assert np.allclose(mean, [row.probabilities for row in whole.predictions], atol=1e-6)


def test_options_that_do_not_fit_the_model_are_refused(clips: Clips, run: Path, tmp_path: Path) -> None:
    options = PredictOptions(features=tmp_path / "cache")
    with pytest.raises(UsageError, match="--speaker-from"):
        predict(clips, run, SETTINGS, replace(options, speaker=clips))
    with pytest.raises(UsageError, match="--faces all"):
        predict(clips, run, SETTINGS, replace(options, all_faces=True))
    with pytest.raises(EncoderError, match="expected the face encoder random:tiny"):
        predict(clips, run, SETTINGS, replace(options, encoders=("face=random:facenet",)))
    with pytest.raises(StoreError, match="no such folder"):
        predict(clips, tmp_path / "nothing", SETTINGS, options)


@pytest.mark.slow
def test_statistics_of_the_speaker_come_from_the_given_clips(clips: Clips, tmp_path: Path) -> None:
    run = train_run(tmp_path / "model", normalize="speaker")
    options = PredictOptions(features=tmp_path / "cache")
    without = predict(clips, run, SETTINGS, options)
    assert any("--speaker-from" in warning for warning in without.warnings)
    write_clip(tmp_path / "voice" / "r.avi", hz=900, seconds=2.0)
    speaker = clips_in(tmp_path / "voice")
    adapted = predict(clips, run, SETTINGS, replace(options, speaker=speaker))
    assert [row.name for row in adapted.predictions] == [row.name for row in without.predictions]
    assert not np.allclose(adapted.predictions[0].probabilities, without.predictions[0].probabilities, atol=1e-4)
    (tmp_path / "voice" / "r.avi").write_bytes(b"no media")
    with pytest.raises(FoalError, match=r"--speaker-from: r.avi: expected a media file"):
        predict(clips, run, SETTINGS, replace(options, speaker=clips_in(tmp_path / "voice")))


def test_utterances_of_the_training_are_warned_about(clips: Clips, run: Path, tmp_path: Path) -> None:
    known = replace(clips, utterances=tuple(replace(u, corpus="small") for u in clips.utterances))
    result = predict(known, run, SETTINGS, PredictOptions(features=tmp_path / "cache"))
    assert any("3 utterances may belong to the training" in warning for warning in result.warnings)


def test_the_command_writes_tables_and_exits_with_3(clips: Clips, run: Path, tmp_path: Path) -> None:
    (tmp_path / "clips" / "bad.avi").write_bytes(b"no media")
    app = typer.Typer()
    app.command()(command)
    arguments = ["clips", "--model", str(run), "--features", "cache", "--out", "out", "--vtt", "--timeline", "--json"]
    with chdir(tmp_path):
        outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 3, outcome.output
    assert "not predicted: bad.avi: expected a media file" in outcome.output
    result = json.loads(outcome.output.splitlines()[-1])
    assert {row["id"] for row in result["predictions"]} == {"c0.avi", "c1.avi", "c2.avi"}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"predictions.jsonl", "predictions.csv", "failures.csv", "c0.avi.vtt", "c0.avi.timeline.png"} <= names
    with chdir(tmp_path):
        assert isinstance(CliRunner().invoke(app, ["clips", "--vtt"]).exception, UsageError)
        assert isinstance(CliRunner().invoke(app, ["clips", "--faces", "two"]).exception, UsageError)

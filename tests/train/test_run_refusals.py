"""Unusable input of `foal train` gives one message with a remedy, and no traceback."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from foal.shared.cli.main import main
from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import StoreError
from foal.shared.manifest import write_manifest
from foal.shared.store.catalog import shard_folder
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.train.fit.history import Epoch
from foal.train.fit.task import FoldScore
from foal.train.run import train

MakeIndex = Callable[..., Path]
QUICK = ("--epochs", "2", "--width", "16", "--layers", "1", "--threads", "1", "--device", "cpu")


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture
def foal_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The `foal` command in this process, in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str | Path) -> CommandResult:
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        result = capsys.readouterr()
        code = exit_info.value.code or 0
        assert isinstance(code, int)
        return CommandResult(code, result.out, result.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def check_refused(result: CommandResult, message: str, *, code: int = 1) -> None:
    assert result.code == code
    assert result.err.startswith("foal: ")
    assert result.err.count("\n") == 1
    assert message in result.err
    assert "Traceback" not in result.err + result.out


def test_usable_features_are_trained_on(foal_here: Command, feats: Path) -> None:
    result = foal_here("train", "-f", feats, *QUICK)
    assert (result.code, result.err) == (0, "")
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("foalnet-audio+face-loso-nested-")
    assert f"results: {run}" in result.out
    assert foal_here("results", run).code == 0
    repeated = foal_here("train", "-f", feats, *QUICK)
    check_refused(repeated, f"{run}: a finished run exists; show it with --resume, or replace it with --force")
    resumed = foal_here("train", "-f", feats, *QUICK, "--resume", "--json")
    assert resumed.code == 0
    assert json.loads(resumed.out.splitlines()[-1])["folder"] == str(run)
    assert foal_here("train", "-f", feats, *QUICK, "--force").code == 0
    assert foal_here("train", "-f", feats, *QUICK, "--width", "8").code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_features_without_labels_are_refused(
    foal_here: Command, tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, [replace(u, label="") for u in sample_utterances])
    check_refused(foal_here("train", "-f", path, *QUICK), "expected at least two classes, got no label at all")
    assert not (tmp_path / "runs").exists()


def test_a_single_class_is_refused(
    foal_here: Command, tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, [replace(u, label="hap") for u in sample_utterances])
    check_refused(foal_here("train", "-f", path, *QUICK), "expected at least two classes, got hap")


def test_fewer_than_three_groups_are_refused(
    foal_here: Command, tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, [u for u in sample_utterances if u.session != "session3"])
    message = "expected at least three sessions (one to test, one to stop early, the rest to train), got 2: session1"
    check_refused(foal_here("train", "-f", path, *QUICK), message)
    check_refused(foal_here("train", "-f", path, "--protocol", "folds-nested", *QUICK), "'u0' belongs to no fold")
    assert not (tmp_path / "runs").exists()


def test_a_class_missing_from_a_training_group_is_refused(
    foal_here: Command, tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(
        tmp_path, [replace(u, label="hap" if u.session != "session1" else u.label) for u in sample_utterances]
    )
    check_refused(
        foal_here("train", "-f", path, *QUICK), "fold 1 (test session1, development session2): expected training"
    )


def test_missing_and_unusable_features_are_refused(
    foal_here: Command, tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    check_refused(
        foal_here("train", "-f", "no.h5", *QUICK), "no.h5: no such file; create it with `foal extract` or `foal index`"
    )
    (tmp_path / "text.h5").write_text("nothing")
    check_refused(foal_here("train", "-f", "text.h5", *QUICK), "text.h5: expected a foal-feats file")
    path = make_index(tmp_path, sample_utterances, widths={"audio": 3})
    check_refused(
        foal_here("train", "-f", path, *QUICK), "expected face features, got only audio; extract them, or choose"
    )
    message = "expected audio features named audio/hubert, got only audio"
    check_refused(foal_here("train", "-f", path, "--streams", "audio/hubert", *QUICK), message)


def test_missing_shards_are_refused(foal_here: Command, feats: Path) -> None:
    with FeatureStore(feats) as store:
        store.shard_paths[0].unlink()
    check_refused(foal_here("train", "-f", feats, *QUICK), "no such shard; run `foal extract` again")


def test_shards_of_different_widths_are_refused(
    foal_here: Command, tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances, widths={"audio": 3})
    other = make_features(tmp_path / "other", sample_utterances, widths={"audio": 4})
    folder = shard_folder(Path(), "session2", "audio", "0" * 64)
    (other / folder / "shard.h5").replace(features / folder / "shard.h5")
    message = "the audio shards are inconsistent: their config hashes, frame shapes or formats differ"
    with pytest.raises(StoreError) as caught:
        write_index(tmp_path / "feats.h5", sample_utterances, features, {"audio": "0" * 64})
    assert str(caught.value) == message
    write_manifest(tmp_path / "corpus.csv", sample_utterances)
    check_refused(foal_here("index", "-m", "corpus.csv", "--features-dir", features, "--streams", "audio"), message)
    assert not (tmp_path / "feats.h5").exists()


def test_a_width_that_the_heads_do_not_divide_is_refused(foal_here: Command, feats: Path) -> None:
    result = foal_here("train", "-f", feats, *QUICK, "--set", "train.heads=3")
    check_refused(result, "expected a width that 3 heads divide, got 16; change train.width or train.heads")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compat", "sums"), "settings key 'train.compat.0': input should be 'temperature', "),
        (("--protocol", "loso"), "settings key 'train.protocol': input should be 'loso-nested', "),
        (("--preset", "heavy"), "settings key 'train.preset': input should be 'light' or 'paper', got 'heavy'"),
        (("--set", "train.frame_rates=5"), "unknown key 'train.frame_rates' in the settings; "),
        (("--out", "."), "expected a new folder or the folder of a run, got something else"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(foal_here: Command, feats: Path, arguments: tuple[str, ...], message: str) -> None:
    check_refused(foal_here("train", "-f", feats, *QUICK, *arguments), message, code=2)


def test_a_finished_run_of_another_configuration_is_refused(foal_here: Command, feats: Path) -> None:
    assert foal_here("train", "-f", feats, *QUICK, "-o", "run").code == 0
    result = foal_here("train", "-f", feats, *QUICK, "-o", "run", "--resume", "--epochs", "3")
    message = "run: the finished run has another configuration: train.epochs was 2, is now 3; discard it with --force"
    check_refused(result, message, code=2)
    assert foal_here("train", "-f", feats, *QUICK, "-o", "run", "--resume").code == 0


def test_an_unfinished_run_of_another_configuration_is_refused(foal_here: Command, feats: Path, tmp_path: Path) -> None:
    def stop(step: Epoch | FoldScore) -> None:
        if isinstance(step, FoldScore):
            raise KeyboardInterrupt

    quick = TrainSettings(epochs=2, width=16, layers=1)
    with pytest.raises(KeyboardInterrupt):
        train(Settings(train=quick), feats, tmp_path / "run", progress=stop)
    result = foal_here("train", "-f", feats, *QUICK, "-o", "run", "--resume", "--width", "8")
    message = (
        "run: the interrupted run has another configuration: train.width was 16, is now 8; discard it with --force"
    )
    check_refused(result, message, code=2)
    assert foal_here("train", "-f", feats, *QUICK, "-o", "run", "--resume").code == 0
    assert not (tmp_path / ".run.unfinished").exists()

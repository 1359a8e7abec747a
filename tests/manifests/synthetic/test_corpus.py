"""The files of the synthetic corpus: IEMOCAP's layout, and the same bytes for the same seed."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from foal.manifests.run import GENERATOR_FILE
from foal.manifests.synthetic.corpus import write_corpus
from foal.manifests.synthetic.script import CLASSES, GENDERS, SESSIONS, plan_dialogs
from foal.shared.errors import FoalError, UsageError

UTTERANCES = 20
DIALOG = r"Ses0([1-5])[FM]_(?:impro\d{2}[a-z]?|script\d{2}_\d[a-z]?)"
LABEL_LINE = re.compile(
    rf"\[(\d+\.\d{{4}}) - (\d+\.\d{{4}})\]\t({DIALOG}_[FM]\d{{3}})\t(\w{{3}})"
    r"\t\[(\d\.\d{4}), (\d\.\d{4}), (\d\.\d{4})\]"
)
RATER_LINE = re.compile(r"C-E\d:\t[A-Z][a-z ]+;\t\(\)|A-E\d:\tval [1-5]; act [1-5]; dom  [1-5];\t\(\)")


@pytest.fixture
def corpus(synthetic_corpus: Path) -> Path:
    return synthetic_corpus


def files_of(corpus: Path) -> list[Path]:
    """The files of a corpus, without the record of `foal corpus`."""
    return [path for path in corpus.rglob("*") if path.is_file() and path.name != GENERATOR_FILE]


def labels(corpus: Path) -> dict[str, tuple[float, float, str]]:
    """Start and end in seconds, and the emotion, of each utterance id."""
    times = {}
    for path in corpus.glob("Session*/dialog/EmoEvaluation/[!.]*.txt"):
        for line in path.read_text().splitlines():
            if line.startswith("["):
                parts = LABEL_LINE.fullmatch(line)
                assert parts, line
                times[parts[3]] = (float(parts[1]), float(parts[2]), parts[5])
    return times


def class_of(emotion: str) -> str:
    return "hap" if emotion == "exc" else emotion


def test_every_file_follows_the_layout_of_iemocap(corpus: Path) -> None:
    files = sorted(path.relative_to(corpus).as_posix() for path in files_of(corpus))
    patterns = (
        rf"Session([1-5])/dialog/EmoEvaluation/(?:\._)?{DIALOG}\.txt",
        rf"Session([1-5])/dialog/EmoEvaluation/Categorical/{DIALOG}_e2_cat\.txt",
        rf"Session([1-5])/dialog/avi/DivX/{DIALOG}\.avi",
        rf"Session([1-5])/dialog/transcriptions/{DIALOG}\.txt",
        rf"Session([1-5])/sentences/wav/(?:{DIALOG})/{DIALOG}_[FM]\d{{3}}\.wav",
    )
    for file in files:
        matches = [match for pattern in patterns if (match := re.fullmatch(pattern, file))]
        assert len(matches) == 1, file
        assert len(set(matches[0].groups())) == 1, file  # folder and file name have the same session
    names = {Path(file).stem for file in files if file.endswith(".avi")}
    assert {f"Ses0{session}{left_speaker}" for session in SESSIONS for left_speaker in GENDERS} == {
        name[:6] for name in names
    }
    assert "Ses03F_impro01a" in names
    assert names == {path.stem for path in corpus.glob("Session*/dialog/EmoEvaluation/[!.]*.txt")}
    assert names == {path.stem for path in corpus.glob("Session*/dialog/transcriptions/*.txt")}
    assert set(labels(corpus)) == {path.stem for path in corpus.rglob("*.wav")}
    assert any(Path(file).name.startswith("._") for file in files)


def test_label_files_contain_only_a_header_labels_and_ratings(corpus: Path) -> None:
    for path in corpus.glob("Session*/dialog/EmoEvaluation/[!.]*.txt"):
        header, blank, *lines = path.read_text().splitlines()
        assert (header, blank) == ("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", "")
        for block in "\n".join(lines).split("\n\n"):
            label, *raters = block.strip().splitlines()
            parts = LABEL_LINE.fullmatch(label)
            assert parts
            assert parts[3].startswith(path.stem + "_")
            assert all(1 <= float(number) <= 5 for number in parts.groups()[-3:])
            assert len(raters) == 5
            assert all(RATER_LINE.fullmatch(line) for line in raters), raters


def test_each_session_has_each_class_and_the_corpus_has_other_emotions(corpus: Path) -> None:
    counts = Counter((int(name[4]), class_of(emotion)) for name, (_, _, emotion) in labels(corpus).items())
    assert {counts[session, emotion] for session in SESSIONS for emotion in CLASSES} == {1}
    assert {emotion for _, emotion in counts} == {*CLASSES, "fru", "xxx"}


def test_transcriptions_contain_every_utterance_and_other_lines(corpus: Path) -> None:
    pattern = re.compile(rf"({DIALOG}_[FM]\d{{3}}) \[(\d+\.\d+)-(\d+\.\d+)\]: (.+)")
    transcribed: dict[str, tuple[float, float]] = {}
    other_lines = 0
    for path in corpus.glob("Session*/dialog/transcriptions/*.txt"):
        for line in path.read_text().splitlines():
            parts = pattern.fullmatch(line)
            if parts:
                transcribed[parts[1]] = (float(parts[3]), float(parts[4]))
            else:
                other_lines += 1
    assert transcribed == {name: (start, end) for name, (start, end, _) in labels(corpus).items()}
    assert other_lines > 0


def test_audio_durations_match_the_labels(corpus: Path) -> None:
    times = labels(corpus)
    for path in corpus.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        start, end, _ = times[path.stem]
        assert abs(info.frames - (end - start) * 16_000) <= 1
        samples, _ = soundfile.read(path)
        assert 0.003 < np.sqrt(np.mean(samples**2)) < 0.3


def test_another_seed_gives_other_dialogs() -> None:
    assert plan_dialogs(UTTERANCES, 1) != plan_dialogs(UTTERANCES, 2)


def test_an_existing_file_or_folder_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(FoalError, match="not an empty folder"):
        write_corpus(corpus, utterances=UTTERANCES)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(FoalError, match="not an empty folder"):
        write_corpus(file, utterances=UTTERANCES)
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match="at least 20"):
        write_corpus(tmp_path / "few", utterances=19)


def test_an_interrupted_run_leaves_no_files(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def interrupt(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    empty = tmp_path / "empty"
    empty.mkdir()  # an empty folder is allowed
    with pytest.raises(KeyboardInterrupt):
        write_corpus(empty, utterances=UTTERANCES, on_dialog=interrupt)
    assert calls == [(1, 10), (2, 10)]
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_an_interrupted_replacement_keeps_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    (out / "old.txt").write_text("old")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(out, utterances=UTTERANCES, on_dialog=interrupt, replace=True)
    assert [path.name for path in out.iterdir()] == ["old.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]

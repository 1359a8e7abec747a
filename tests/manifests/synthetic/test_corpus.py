"""The synthetic corpus: IEMOCAP's layout to the letter, the same bytes every time, and an emotion split in two."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foal.manifests.synthetic.cast import CAST, Gender, actor
from foal.manifests.synthetic.corpus import write_corpus
from foal.manifests.synthetic.portrait import HEIGHT, WIDTH, Portrait
from foal.manifests.synthetic.script import CLASSES, GENDERS, SESSIONS, ScriptTurn, plan_dialogs
from foal.manifests.synthetic.video import RATE, TOP, render_video
from foal.manifests.synthetic.voice import synthesize_voice
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


def labels(corpus: Path) -> dict[str, tuple[float, float, str]]:
    """Start and end in seconds and the emotion of each utterance, by id."""
    found = {}
    for path in corpus.glob("Session*/dialog/EmoEvaluation/[!.]*.txt"):
        for line in path.read_text().splitlines():
            if line.startswith("["):
                parts = LABEL_LINE.fullmatch(line)
                assert parts, line
                found[parts[3]] = (float(parts[1]), float(parts[2]), parts[5])
    return found


def kind(emotion: str) -> str:
    return "hap" if emotion == "exc" else emotion


def test_every_file_lies_where_iemocap_has_it(corpus: Path) -> None:
    files = sorted(path.relative_to(corpus).as_posix() for path in corpus.rglob("*") if path.is_file())
    patterns = (
        rf"Session([1-5])/dialog/EmoEvaluation/(?:\._)?{DIALOG}\.txt",
        rf"Session([1-5])/dialog/EmoEvaluation/Categorical/{DIALOG}_e2_cat\.txt",
        rf"Session([1-5])/dialog/avi/DivX/{DIALOG}\.avi",
        rf"Session([1-5])/dialog/transcriptions/{DIALOG}\.txt",
        rf"Session([1-5])/sentences/wav/(?:{DIALOG})/{DIALOG}_[FM]\d{{3}}\.wav",
    )
    for file in files:
        matches = [found for pattern in patterns if (found := re.fullmatch(pattern, file))]
        assert len(matches) == 1, file
        assert len(set(matches[0].groups())) == 1, file  # the folder's session is the name's
    names = {Path(file).stem for file in files if file.endswith(".avi")}
    assert {f"Ses0{session}{left_speaker}" for session in SESSIONS for left_speaker in GENDERS} == {
        name[:6] for name in names
    }
    assert "Ses03F_impro05a" in names
    assert names == {path.stem for path in corpus.glob("Session*/dialog/EmoEvaluation/[!.]*.txt")}
    assert names == {path.stem for path in corpus.glob("Session*/dialog/transcriptions/*.txt")}
    assert set(labels(corpus)) == {path.stem for path in corpus.rglob("*.wav")}
    assert any(Path(file).name.startswith("._") for file in files)


def test_label_files_hold_header_labels_and_raters_only(corpus: Path) -> None:
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


def test_each_session_has_each_class_and_a_few_others(corpus: Path) -> None:
    found = Counter((int(name[4]), kind(emotion)) for name, (_, _, emotion) in labels(corpus).items())
    assert {found[session, emotion] for session in SESSIONS for emotion in CLASSES} == {1}
    assert {emotion for _, emotion in found} == {*CLASSES, "fru", "xxx"}


def test_transcriptions_have_every_utterance_and_some_noise(corpus: Path) -> None:
    pattern = re.compile(rf"({DIALOG}_[FM]\d{{3}}) \[(\d+\.\d+)-(\d+\.\d+)\]: (.+)")
    read: dict[str, tuple[float, float]] = {}
    strays = 0
    for path in corpus.glob("Session*/dialog/transcriptions/*.txt"):
        for line in path.read_text().splitlines():
            parts = pattern.fullmatch(line)
            if parts:
                read[parts[1]] = (float(parts[3]), float(parts[4]))
            else:
                strays += 1
    assert read == {name: (start, end) for name, (start, end, _) in labels(corpus).items()}
    assert strays > 0


def test_sound_is_as_long_as_its_label_says(corpus: Path) -> None:
    times = labels(corpus)
    for path in corpus.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        start, end, _ = times[path.stem]
        assert abs(info.frames - (end - start) * 16_000) <= 1
        sound, _ = soundfile.read(path)
        assert 0.003 < np.sqrt(np.mean(sound**2)) < 0.3


def test_pictures_are_mpeg4_and_outlast_the_speech(corpus: Path) -> None:
    with_b_frames = []
    for path in sorted(corpus.rglob("*.avi")):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.codec_context.name) == (720, 480, "mpeg4")
            assert stream.average_rate == RATE
            frames = list(container.decode(stream))
            assert len(frames) == stream.frames
        last = max(end for name, (_, end, _) in labels(corpus).items() if name.startswith(path.stem + "_"))
        assert last < len(frames) / RATE < last + 2
        with_b_frames.append(any(frame.pict_type == av.video.frame.PictureType.B for frame in frames))
        picture = frames[len(frames) // 2].to_ndarray(format="rgb24")
        assert picture[: TOP - 4].max() < 12  # the bars of the letterbox
        assert picture[TOP + HEIGHT + 4 :].max() < 12
        sides: tuple[Gender, Gender] = ("F", "M") if path.stem[5] == "F" else ("M", "F")
        for half, gender in zip((picture[:, :WIDTH], picture[:, WIDTH:]), sides, strict=True):
            wall = half[TOP + HEIGHT // 2, 20:60].mean(axis=0)
            owner = actor(int(path.stem[4]), gender)
            walls = [np.abs(wall - member.face.wall).sum() for member in CAST if member.session == owner.session]
            assert np.abs(wall - owner.face.wall).sum() == min(walls)
    assert any(with_b_frames)
    assert not all(with_b_frames)


def test_same_seed_same_bytes(corpus: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()  # an empty folder may be filled
    calls: list[tuple[int, int]] = []
    write_corpus(empty, utterances=UTTERANCES, seed=7, on_dialog=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 10) for done in range(1, 11)]
    for out in (corpus, empty):
        assert [path.name for path in out.parent.iterdir()] == [out.name]  # no temporary folder stays behind
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (corpus, empty)
    )
    assert first == second
    assert plan_dialogs(UTTERANCES, 1) != plan_dialogs(UTTERANCES, 2)


def test_a_taken_folder_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(FoalError, match="not an empty folder"):
        write_corpus(corpus, utterances=UTTERANCES)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(FoalError, match="not an empty folder"):
        write_corpus(file, utterances=UTTERANCES)
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match="at least 20"):
        write_corpus(tmp_path / "few", utterances=19)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "corpus", utterances=UTTERANCES, on_dialog=interrupt)
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=30)
@given(utterances=st.integers(20, 400), seed=st.integers(0, 2**32))
def test_any_plan_is_balanced_and_in_order(utterances: int, seed: int) -> None:
    dialogs = plan_dialogs(utterances, seed)
    turns = [turn for dialog in dialogs for turn in dialog.turns]
    assert len({dialog.name for dialog in dialogs}) == len(dialogs)
    assert len({turn.id for turn in turns}) == len(turns)
    assert {dialog.b_frames for dialog in dialogs} == {True, False}
    for dialog in dialogs:
        assert {turn.speaker for turn in dialog.turns} == {"F", "M"}
        assert dialog.turns[-1].end < dialog.seconds
        for turn, following in zip(dialog.turns, dialog.turns[1:], strict=False):
            assert 0.19 < following.start - turn.end < 0.61
        assert all(0.99 < turn.end - turn.start < 3.01 for turn in dialog.turns)
    wanted = [turn for turn in turns if kind(turn.emotion) in CLASSES]
    assert len(wanted) == utterances
    cells = Counter((turn.id[4], turn.speaker, kind(turn.emotion)) for turn in wanted)
    for session in "12345":
        each = [cells[session, gender, emotion] for gender in GENDERS for emotion in CLASSES]
        assert max(each) - min(each) <= 1
    classes = Counter(kind(turn.emotion) for turn in wanted)
    assert max(classes.values()) - min(classes.values()) <= 2


def test_each_latent_answers_its_own_question_only() -> None:
    turns = [turn for dialog in plan_dialogs(1000, 5) for turn in dialog.turns if kind(turn.emotion) in CLASSES]

    def right(read: float, positive: bool) -> bool:
        return (read > 0) == positive

    def share(answers: list[bool]) -> float:
        return sum(answers) / len(answers)

    def aroused(turn: ScriptTurn) -> bool:
        return kind(turn.emotion) in ("hap", "ang")

    def pleased(turn: ScriptTurn) -> bool:
        return kind(turn.emotion) in ("hap", "neu")

    assert 0.94 < share([right(turn.arousal, aroused(turn)) for turn in turns]) < 0.98
    assert 0.94 < share([right(turn.valence, pleased(turn)) for turn in turns]) < 0.98
    assert 0.45 < share([right(turn.arousal, pleased(turn)) for turn in turns]) < 0.55
    assert 0.45 < share([right(turn.valence, aroused(turn)) for turn in turns]) < 0.55


def decoded(path: Path) -> NDArray[np.int16]:
    """All frames without the letterbox, (n, 256, 720), grey."""
    with av.open(str(path)) as container:
        grey = [frame.to_ndarray(format="gray")[TOP : TOP + HEIGHT] for frame in container.decode(video=0)]
    return np.stack(grey).astype(np.int16)


def test_the_listener_keeps_the_same_face_whatever_the_speaker_feels(tmp_path: Path) -> None:
    dialog = next(dialog for dialog in plan_dialogs(UTTERANCES, 2024) if not dialog.b_frames)
    portraits = {gender: Portrait(actor(dialog.session, gender).face) for gender in GENDERS}
    films = []
    for mood in (-1.0, 1.0):  # the marked actor, left, is grieved and calm, or pleased and aroused
        turns = tuple(
            replace(turn, valence=mood, arousal=mood) if turn.speaker == dialog.left_speaker else turn
            for turn in dialog.turns
        )
        sounds = [
            synthesize_voice(
                actor(dialog.session, turn.speaker).voice,
                turn.arousal,
                round((turn.end - turn.start) * 16_000),
                np.random.default_rng(number),
            )
            for number, turn in enumerate(turns)
        ]
        path = tmp_path / f"{mood}.avi"
        render_video(path, replace(dialog, turns=turns), sounds, portraits)
        films.append(decoded(path))
    changed = np.abs(films[0] - films[1])
    speaker, listener = changed[:, :, :WIDTH], changed[:, :, WIDTH + 16 :]  # the macroblock on the border holds both
    assert speaker.max() > 60
    assert listener.max() <= 8  # only what the encoder makes of it
    # Between the utterances everybody rests, so the speaker's half does not tell either.
    is_speech = np.zeros(len(changed), bool)
    seconds = np.arange(len(changed)) / float(RATE)
    for turn in dialog.turns:
        is_speech |= (seconds > turn.start - 0.04) & (seconds < turn.end + 0.15)
    assert speaker[~is_speech].mean() < 0.2
    assert speaker[is_speech].mean() > 2 * speaker[~is_speech].mean()


def test_an_aroused_voice_is_louder_and_higher() -> None:
    for member in CAST:
        calm, aroused = (
            synthesize_voice(member.voice, arousal, 32_000, np.random.default_rng(3)) for arousal in (-1.0, 1.0)
        )
        assert max(np.abs(calm).max(), np.abs(aroused).max()) < 1
        assert aroused.std() > 2 * calm.std()
        pitches = [_pitch_hz(sound, member.voice.pitch_hz) for sound in (calm, aroused)]
        assert pitches[1] > 1.2 * pitches[0]
        assert 0.7 < pitches[0] / member.voice.pitch_hz < 1 < pitches[1] / member.voice.pitch_hz


def _pitch_hz(sound: NDArray[np.float64], near_hz: float) -> float:
    """Median over time of the lag, within an octave of the expected one, at which 64 ms are most like themselves."""
    lags = np.arange(int(16_000 / (1.7 * near_hz)), int(16_000 / (0.6 * near_hz)))
    found = []
    for start in range(0, len(sound) - 1024, 512):
        piece = sound[start : start + 1024]
        if piece.std() > sound.std():  # neither a consonant nor a pause
            likeness = np.correlate(piece, piece, "full")[1023:] / np.arange(1024, 0, -1)
            found.append(16_000 / lags[np.argmax(likeness[lags])])
    return float(np.median(found))

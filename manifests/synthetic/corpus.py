"""Writes the synthetic corpus in the layout of IEMOCAP."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ...shared.errors import FoalError, UsageError
from ...shared.files.folders import folder_written_atomically
from ...shared.timing import SAMPLE_RATE, to_samples
from .cast import Gender, actor
from .portrait import Portrait
from .script import GENDERS, Dialog, ScriptTurn, plan_dialogs
from .video import render_video
from .voice import synthesize_voice

MIN_UTTERANCES = 20  # with fewer, a session may lack a class or a dialog a speaker

_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
_VOTES = {
    "neu": "Neutral state",
    "hap": "Happiness",
    "exc": "Excited",
    "sad": "Sadness",
    "ang": "Anger",
    "fru": "Frustration",
}
# A resource file of macOS: not text in spite of its suffix .txt. IEMOCAP contains such files.
_MAC_JUNK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(58)


def write_corpus(
    out: Path,
    *,
    utterances: int = 160,
    seed: int = 2024,
    extra_files: Mapping[str, str] | None = None,
    on_dialog: Callable[[int, int], None] | None = None,
    replace: bool = False,
) -> None:
    """Write a corpus; the folder appears complete or not at all, and the same arguments give the same bytes.

    Args:
        out: the folder to write.
        utterances: utterances of the four classes; a few of other classes are added.
        seed: of everything random.
        extra_files: name to text of files to add.
        on_dialog: called with the number of written dialogs and of all dialogs after each dialog.
        replace: replace an existing file or folder, once the new corpus is complete.

    Raises:
        UsageError: fewer than 20 utterances.
        FoalError: `out` exists, is not empty and may not be replaced, or cannot be written.
    """
    if utterances < MIN_UTTERANCES:
        raise UsageError(f"a synthetic corpus needs at least {MIN_UTTERANCES} utterances, got {utterances}")
    out = out.absolute()
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FoalError(f"{out} exists already and is not an empty folder: choose another name, or remove it first")
    try:
        with folder_written_atomically(out) as unfinished:
            _write_dialogs(unfinished, plan_dialogs(utterances, seed), on_dialog)
            for name, text in (extra_files or {}).items():
                (unfinished / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error


def _write_dialogs(root: Path, dialogs: Sequence[Dialog], on_dialog: Callable[[int, int], None] | None) -> None:
    done = 0
    for session, members in groupby(dialogs, key=lambda dialog: dialog.session):
        portraits = {gender: Portrait(actor(session, gender).face) for gender in GENDERS}
        for dialog in members:
            write_dialog(root / f"Session{session}", dialog, portraits)
            done += 1
            if on_dialog is not None:
                on_dialog(done, len(dialogs))
    first = dialogs[0]
    evaluation = root / f"Session{first.session}" / "dialog" / "EmoEvaluation"
    (evaluation / f"._{first.name}.txt").write_bytes(_MAC_JUNK)


def write_dialog(session: Path, dialog: Dialog, portraits: dict[Gender, Portrait]) -> None:
    """Write the audio, video, labels and transcription of one dialog into the folder of its session."""
    rng = np.random.default_rng([*dialog.seed, 0])
    sounds = [turn_voice(turn, dialog.session, rng) for turn in dialog.turns]
    for turn, sound in zip(dialog.turns, sounds, strict=True):
        wav = _with_folder(session / "sentences" / "wav" / dialog.name / f"{turn.id}.wav")
        soundfile.write(wav, sound, SAMPLE_RATE, subtype="PCM_16")
    render_video(_with_folder(session / "dialog" / "avi" / "DivX" / f"{dialog.name}.avi"), dialog, sounds, portraits)

    evaluation = session / "dialog" / "EmoEvaluation"
    # One speaker's turns after the other's, as in IEMOCAP, not in the order of time.
    turns = sorted(dialog.turns, key=lambda turn: turn.id)
    rated = "\n".join(_label_block(turn, rng) for turn in turns)
    _with_folder(evaluation / f"{dialog.name}.txt").write_text(
        f"{_HEADER}\n\n{rated}\n", encoding="ascii", newline="\n"
    )
    votes = "".join(f"{turn.id} :{_VOTES.get(turn.emotion, 'Other')}; ()\n" for turn in turns)
    categorical = _with_folder(evaluation / "Categorical" / f"{dialog.name}_e2_cat.txt")
    categorical.write_text(votes, encoding="ascii", newline="\n")

    lines = [f"{turn.id} [{turn.start:.4f}-{turn.end:.4f}]: {turn.text}\n" for turn in dialog.turns]
    # Two kinds of line without an utterance: an interjection without times, and a noise without a number.
    lines.insert(1, f"{dialog.turns[1].speaker}: Mm-hm.\n")
    lines.append(
        f"{dialog.name}_{dialog.left_speaker}XX0 [{dialog.turns[-1].end:.4f}-{dialog.seconds:.4f}]: [BREATHING]\n"
    )
    transcription = _with_folder(session / "dialog" / "transcriptions" / f"{dialog.name}.txt")
    transcription.write_text("".join(lines), encoding="ascii", newline="\n")


def turn_voice(turn: ScriptTurn, session: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The voice of a turn, (samples,) at 16 kHz."""
    samples = to_samples(turn.end - turn.start, SAMPLE_RATE)
    voice = actor(session, turn.speaker).voice
    return synthesize_voice(voice, turn.voice_arousal, turn.voice_valence, samples, rng)


def _label_block(turn: ScriptTurn, rng: np.random.Generator) -> str:
    """The label line of a turn and the ratings behind it, ending with a line break."""
    # Two raters on a scale of 1 to 5, whose mean is the label; dominance depends on arousal.
    truth = 3 + np.array([turn.valence, turn.arousal, 0.6 * turn.arousal])
    ratings = np.rint(truth + rng.normal(0, 0.3, (2, 3))).clip(1, 5).astype(int)
    valence, activation, dominance = ratings.mean(axis=0)
    vote = _VOTES.get(turn.emotion)
    votes = [vote] * 3 if vote else ["Neutral state", "Frustration", "Surprise"]  # xxx: no agreement
    return "".join(
        [
            f"[{turn.start:.4f} - {turn.end:.4f}]\t{turn.id}\t{turn.emotion}\t",
            f"[{valence:.4f}, {activation:.4f}, {dominance:.4f}]\n",
            *(f"C-E{rater}:\t{voted};\t()\n" for rater, voted in enumerate(votes, 2)),
            *(f"A-E{rater}:\tval {v}; act {a}; dom  {d};\t()\n" for rater, (v, a, d) in enumerate(ratings, 3)),
        ]
    )


def _with_folder(path: Path) -> Path:
    """The path, after creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

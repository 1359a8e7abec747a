"""A small corpus of drawn actors with synthetic voices, in the layout of IEMOCAP: needs no licence and no network."""

from collections.abc import Callable, Mapping
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
from .script import GENDERS, Dialog, Turn, plan
from .video import film
from .voice import speak

FEWEST = 20  # so that each session has each class, and each dialog both speakers

_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
_VOTES = {
    "neu": "Neutral state",
    "hap": "Happiness",
    "exc": "Excited",
    "sad": "Sadness",
    "ang": "Anger",
    "fru": "Frustration",
}
# What a Mac leaves behind on other people's disks: not text, although it is called .txt; IEMOCAP ships some.
_MAC_JUNK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(58)


def write_corpus(
    out: Path,
    *,
    utterances: int = 160,
    seed: int = 2024,
    notes: Mapping[str, str] | None = None,
    on_dialog: Callable[[int, int], None] | None = None,
) -> None:
    """Write a corpus with `utterances` of the four classes, and a few of others, into the folder `out`.

    The folder appears whole or not at all, and the same arguments give the same bytes. `notes` are files (name to
    text) to lie in it; `on_dialog(done, total)` is called after each dialog. Raises UsageError for fewer than 20
    utterances and FoalError where `out` cannot be had.
    """
    if utterances < FEWEST:
        raise UsageError(f"a synthetic corpus needs at least {FEWEST} utterances, got {utterances}")
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FoalError(f"{out} exists already and is not an empty folder: give another name, or remove it first")
    dialogs = plan(utterances, seed)
    done = 0
    try:
        with folder_written_atomically(out) as unfinished:
            for session, recorded in groupby(dialogs, key=lambda dialog: dialog.session):
                portraits = {gender: Portrait(actor(session, gender).face) for gender in GENDERS}
                for dialog in recorded:
                    write_dialog(unfinished / f"Session{session}", dialog, portraits)
                    done += 1
                    if on_dialog is not None:
                        on_dialog(done, len(dialogs))
            first = dialogs[0]
            evaluation = unfinished / f"Session{first.session}" / "dialog" / "EmoEvaluation"
            (evaluation / f"._{first.name}.txt").write_bytes(_MAC_JUNK)
            for name, text in (notes or {}).items():
                (unfinished / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error


def write_dialog(session: Path, dialog: Dialog, portraits: dict[Gender, Portrait]) -> None:
    """Everything the corpus holds about one dialog, under the folder of its session."""
    rng = np.random.default_rng([*dialog.seed, 0])
    sounds = [spoken(turn, dialog.session, rng) for turn in dialog.turns]
    for turn, sound in zip(dialog.turns, sounds, strict=True):
        wav = _made(session / "sentences" / "wav" / dialog.name / f"{turn.id}.wav")
        soundfile.write(wav, sound, SAMPLE_RATE, subtype="PCM_16")
    film(_made(session / "dialog" / "avi" / "DivX" / f"{dialog.name}.avi"), dialog, sounds, portraits)

    evaluation = session / "dialog" / "EmoEvaluation"
    # Both speakers' turns one after the other, as in the corpus: its labels are not in the order of time.
    turns = sorted(dialog.turns, key=lambda turn: turn.id)
    rated = "\n".join(_evaluation(turn, rng) for turn in turns)
    _made(evaluation / f"{dialog.name}.txt").write_text(f"{_HEADER}\n\n{rated}\n", encoding="ascii", newline="\n")
    votes = "".join(f"{turn.id} :{_VOTES.get(turn.emotion, 'Other')}; ()\n" for turn in turns)
    categorical = _made(evaluation / "Categorical" / f"{dialog.name}_e2_cat.txt")
    categorical.write_text(votes, encoding="ascii", newline="\n")

    lines = [f"{turn.id} [{turn.start:.4f}-{turn.end:.4f}]: {turn.text}\n" for turn in dialog.turns]
    # Two kinds of line that name no utterance: a word without a time, and a noise without a number.
    lines.insert(1, f"{dialog.turns[1].speaker}: Mm-hm.\n")
    lines.append(f"{dialog.name}_{dialog.marked}XX0 [{dialog.turns[-1].end:.4f}-{dialog.seconds:.4f}]: [BREATHING]\n")
    transcription = _made(session / "dialog" / "transcriptions" / f"{dialog.name}.txt")
    transcription.write_text("".join(lines), encoding="ascii", newline="\n")


def spoken(turn: Turn, session: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The turn's voice, (samples,) at 16 kHz."""
    samples = to_samples(turn.end - turn.start, SAMPLE_RATE)
    return speak(actor(session, turn.speaker).voice, turn.arousal, samples, rng)


def _evaluation(turn: Turn, rng: np.random.Generator) -> str:
    """The turn's label line and the votes of those who rated it, ending with a line break."""
    # Two raters on a scale of 1 to 5, the mean of whom is the label; dominance goes with arousal.
    truth = 3 + np.array([turn.valence, turn.arousal, 0.6 * turn.arousal])
    ratings = np.rint(truth + rng.normal(0, 0.3, (2, 3))).clip(1, 5).astype(int)
    valence, activation, dominance = ratings.mean(axis=0)
    vote = _VOTES.get(turn.emotion)
    votes = [vote] * 3 if vote else ["Neutral state", "Frustration", "Surprise"]  # xxx: nobody agrees
    return "".join(
        [
            f"[{turn.start:.4f} - {turn.end:.4f}]\t{turn.id}\t{turn.emotion}\t",
            f"[{valence:.4f}, {activation:.4f}, {dominance:.4f}]\n",
            *(f"C-E{rater}:\t{voted};\t()\n" for rater, voted in enumerate(votes, 2)),
            *(f"A-E{rater}:\tval {v}; act {a}; dom  {d};\t()\n" for rater, (v, a, d) in enumerate(ratings, 3)),
        ]
    )


def _made(path: Path) -> Path:
    """The path, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

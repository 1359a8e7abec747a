"""The spine of `foal synth`, `foal corpus` and `foal manifest`."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..shared.cli.console import count_table, get_console
from ..shared.config.settings import CorpusSettings, Settings, SynthSettings
from ..shared.errors import ManifestError, UsageError
from ..shared.files.atomic import replaced_atomically
from ..shared.manifest import write_manifest
from . import cremad, iemocap, ravdess
from . import label_folders as folder
from .common import Built, table_of
from .synthetic.corpus import write_corpus

STAMP = "foal-synth.json"
"""Lies in a drawn corpus and says with which settings it was drawn; only a folder with it is ever replaced."""

LONGEST_RECORD = 1 << 16
"""Bytes of a record of `foal corpus`; what is larger is none."""

GENERATOR = 1
MOST_PROBLEMS = 20


def draw(out: Path, settings: SynthSettings) -> None:
    """Draw the synthetic corpus into a new folder."""
    console = get_console()
    every = 1 if console.is_terminal else 5

    def on_dialog(done: int, total: int) -> None:
        if done % every == 0 or done == total:
            console.print(f"{done} of {total} dialogs drawn")

    notes = {STAMP: _stamp(settings)}
    write_corpus(out, utterances=settings.utterances, seed=settings.seed, notes=notes, on_dialog=on_dialog)
    console.print(f"{out}: {settings.utterances} utterances of four classes in IEMOCAP's layout")


def provide(settings: Settings, record: Path) -> None:
    """Make sure the corpus of params.yaml is there and note what it is; a licensed corpus is never touched."""
    corpus = settings.corpus
    if os.path.lexists(record) and not _is_record(record):
        raise UsageError(
            f"{record}: expected a record of `foal corpus` to replace, or nothing, got another file; give another name "
            "(--record)"
        )
    if corpus.kind == "synthetic":
        stamp = corpus.root / STAMP
        if stamp.is_file() and stamp.read_text() == _stamp(settings.synth):
            get_console().print(f"{corpus.root}: already drawn")
        else:
            if stamp.is_file():
                shutil.rmtree(corpus.root)
            draw(corpus.root, settings.synth)
    elif not corpus.root.is_dir():
        raise UsageError(f"{corpus.root}: expected the {corpus.kind} corpus here (key corpus.root), got no such folder")
    note = {"kind": corpus.kind, "root": str(corpus.root)}
    if corpus.kind == "synthetic":
        note["drawn"] = _stamp(settings.synth)
    with replaced_atomically(record) as temporary:
        temporary.write_text(json.dumps(note, indent=2) + "\n")


def write(settings: CorpusSettings, *, speaker: str | None = None) -> None:
    """Build a manifest, say what is odd about the corpus, show its table."""
    console = get_console()
    if speaker is not None and settings.kind != "folder":
        raise UsageError(f"--speaker is for `foal manifest folder`; {settings.kind} names its speakers itself")
    built = _build(settings, speaker)
    for problem in built.problems[:MOST_PROBLEMS]:
        console.print(f"warning: {problem}")
    if len(built.problems) > MOST_PROBLEMS:
        console.print(f"warning: ... and {len(built.problems) - MOST_PROBLEMS} more")
    if not built.utterances:
        raise ManifestError(f"{settings.root}: no utterance has one of the labels {', '.join(built.classes)}")
    write_manifest(settings.manifest, built.utterances)
    heading = "session" if built.utterances[0].session else "fold"
    console.print(count_table(heading, built.classes, table_of(built.utterances, built.classes), total=True))
    for remark in built.remarks:
        console.print(remark)
    speakers = len({utterance.speaker for utterance in built.utterances if utterance.speaker})
    console.print(f"{settings.manifest}: {len(built.utterances)} utterances, {speakers or 'unknown'} speakers")


def _is_record(path: Path) -> bool:
    """Whether a regular file is what `provide` notes; of pipes and devices nothing is read."""
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file():
            with path.open("rb") as file:
                note = json.loads(file.read(LONGEST_RECORD))
            return isinstance(note, dict) and {"kind", "root"} <= note.keys() <= {"kind", "root", "drawn"}
    return False


def _build(settings: CorpusSettings, speaker: str | None) -> Built:
    root, classes = settings.root, settings.classes
    try:
        match settings.kind:
            case "iemocap":
                return iemocap.build(root, classes)
            case "synthetic":
                return iemocap.build(root, classes, corpus="synthetic")
            case "cremad":
                return cremad.build(root, classes)
            case "ravdess":
                return ravdess.build(root, classes)
            case "folder":
                return folder.build(root, classes, speaker=speaker)
    except OSError as error:
        raise ManifestError(
            f"{error.filename or root}: expected to read all of the corpus, cannot read this ({error.strerror}), so no "
            "manifest was written; mend its permissions or its disk, or take it out of the corpus"
        ) from error


def _stamp(settings: SynthSettings) -> str:
    return json.dumps({"generator": GENERATOR, **settings.model_dump()}, sort_keys=True)

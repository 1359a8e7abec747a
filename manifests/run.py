"""The spine of `foal synth`, `foal corpus` and `foal manifest`."""

import json
import shutil
from pathlib import Path

from ..shared.console import count_table, make_console
from ..shared.errors import ManifestError, UsageError
from ..shared.files import replaced_atomically
from ..shared.settings import CorpusSettings, Settings, SynthSettings
from ..shared.utterance import write_manifest
from . import cremad, folder, iemocap, ravdess
from .build import Built, table_of
from .synthetic import write_corpus

STAMP = "foal-synth.json"
"""Lies in a drawn corpus and says with which settings it was drawn; only a folder with it is ever replaced."""

GENERATOR = 1
MOST_PROBLEMS = 20


def draw(out: Path, settings: SynthSettings) -> None:
    """Draw the synthetic corpus into a new folder."""
    console = make_console()
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
    if corpus.kind == "synthetic":
        stamp = corpus.root / STAMP
        if stamp.is_file() and stamp.read_text() == _stamp(settings.synth):
            make_console().print(f"{corpus.root}: already drawn")
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
    console = make_console()
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


def _build(settings: CorpusSettings, speaker: str | None) -> Built:
    match settings.kind:
        case "iemocap":
            return iemocap.build(settings.root, settings.classes)
        case "synthetic":
            return iemocap.build(settings.root, settings.classes, corpus="synthetic")
        case "cremad":
            return cremad.build(settings.root, settings.classes)
        case "ravdess":
            return ravdess.build(settings.root, settings.classes)
        case "folder":
            return folder.build(settings.root, settings.classes, speaker=speaker)


def _stamp(settings: SynthSettings) -> str:
    return json.dumps({"generator": GENERATOR, **settings.model_dump()}, sort_keys=True)

"""The work of `foal synth`, `foal corpus` and `foal manifest`."""

import json
import logging
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..shared.cli.console import count_table, get_console
from ..shared.cli.progress import progress_display
from ..shared.config.settings import CorpusSettings, Settings, SynthSettings
from ..shared.errors import FoalError, ManifestError, UsageError
from ..shared.files.atomic import replaced_atomically
from ..shared.files.overwrite import check_overwrite
from ..shared.manifest import write_manifest
from ..shared.text import counted
from .common import ManifestResult, class_counts
from .corpora import cremad, csv_table, emodb, iemocap, label_folders, meld, ravdess, savee
from .synthetic.corpus import write_corpus

log = logging.getLogger(__name__)

GENERATOR_FILE = "foal-synth.json"
"""The file in a generated corpus with its settings; only a folder that contains it is replaced without --force."""

GENERATOR_VERSION = 3
MAX_RECORD_BYTES = 1 << 16
"""A larger file is not a record of `foal corpus`."""

MAX_WARNINGS = 20


def generate_corpus(out: Path, settings: SynthSettings, *, force: bool = False) -> None:
    """Generate the synthetic corpus in a new folder, or in the place of a generated one.

    Args:
        out: the folder.
        settings: size and seed.
        force: replace the folder even if foal did not generate it.

    Raises:
        UsageError: `out` exists, is not empty and may not be replaced.
    """
    check_overwrite(out, kind="an empty folder or a generated corpus", is_ours=_is_generated, force=force)
    if force and Path.cwd().is_relative_to(out.resolve()):
        raise UsageError(f"{out}: contains the working folder and cannot be replaced; run the command from elsewhere")
    with progress_display("generating", unit="dialogs") as display:
        write_corpus(
            out,
            utterances=settings.utterances,
            seed=settings.seed,
            extra_files={GENERATOR_FILE: _generator_record(settings)},
            on_dialog=lambda done, total: display.update(completed=done, total=total),
            replace=True,
        )
    get_console().print(f"{out}: {settings.utterances} utterances of four classes in IEMOCAP's layout")


def prepare_corpus(settings: Settings, record: Path, *, force: bool = False) -> None:
    """Make sure that the corpus of params.yaml exists, and write a record of it.

    The synthetic corpus is generated if it is missing or has other settings; no other corpus is ever changed.

    Args:
        settings: corpus and generator settings.
        record: the JSON file to write.
        force: replace `record` even if it is not a record.

    Raises:
        UsageError: the corpus does not exist, or a file or folder may not be replaced.
    """
    corpus = settings.corpus
    check_overwrite(record, kind="a record of `foal corpus`", is_ours=_is_record, force=force)
    content = {"kind": corpus.kind, "root": str(corpus.root)}
    if corpus.kind == "synthetic":
        content["drawn"] = _generator_record(settings.synth)
        generator_file = corpus.root / GENERATOR_FILE
        if generator_file.is_file() and generator_file.read_text() == content["drawn"]:
            log.info("%s: already generated", corpus.root)
        else:
            generate_corpus(corpus.root, settings.synth)
    elif not corpus.root.is_dir():
        raise FoalError(f"{corpus.root}: expected the {corpus.kind} corpus (key corpus.root), but it does not exist")
    with replaced_atomically(record) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def require_own_root(settings: CorpusSettings, given: Collection[str]) -> None:
    """Raise UsageError for a kind of corpus whose root would be the synthetic one, because no root was given.

    Args:
        settings: kind and root.
        given: keys that the command line sets.
    """
    if settings.kind == "synthetic" or "corpus.root" in given:
        return
    if settings.root == CorpusSettings().root or (settings.root / GENERATOR_FILE).exists():
        what, example = ("table", "LABELS.csv") if settings.kind == "csv" else ("folder", "ROOT")
        raise UsageError(
            f"expected the {what} of the corpus: foal manifest {settings.kind} {example} (key corpus.root; "
            f"{settings.root} is that of the synthetic corpus)"
        )


def build_manifest(settings: CorpusSettings, *, speaker: str | None = None, force: bool = False) -> None:
    """Write the manifest of a corpus; print its table, warnings and notes.

    Args:
        settings: the corpus and the manifest's path.
        speaker: pattern of the speaker in the file name, for a corpus of label folders only.
        force: replace a file that is no manifest.

    Raises:
        ManifestError: the corpus is incomplete or cannot be read.
        UsageError: an option is wrong, or a file may not be replaced.
    """
    console = get_console()
    if speaker is not None and settings.kind != "folder":
        raise UsageError(f"--speaker: applies to `foal manifest folder` only; {settings.kind} defines its speakers")
    _check_options(settings)
    result = _build(settings, speaker)
    for warning in result.warnings[:MAX_WARNINGS]:
        log.warning("%s", warning)
    if len(result.warnings) > MAX_WARNINGS:
        log.warning("... and %d more", len(result.warnings) - MAX_WARNINGS)
    if not result.utterances:
        raise ManifestError(f"{settings.root}: no utterance has one of the labels {', '.join(result.classes)}")
    write_manifest(settings.manifest, result.utterances, force=force)
    heading = "session" if result.utterances[0].session else "fold"
    counts = class_counts(result.utterances, result.classes)
    console.print(count_table(heading, result.classes, counts, total=True))
    for note in result.notes:
        log.info("%s", note)
    speakers = len({utterance.speaker for utterance in result.utterances if utterance.speaker})
    of = counted(speakers, "speaker") if speakers else "unknown speakers"
    console.print(f"{settings.manifest}: {counted(len(result.utterances), 'utterance')}, {of}")


def _is_generated(path: Path) -> bool:
    """Whether a folder is empty or a generated corpus."""
    with suppress(OSError):
        return path.is_dir() and ((path / GENERATOR_FILE).is_file() or not any(path.iterdir()))
    return False


def _is_record(path: Path) -> bool:
    """Whether a regular file is a record of `prepare_corpus`; pipes and devices are not read."""
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file():
            with path.open("rb") as file:
                content = json.loads(file.read(MAX_RECORD_BYTES))
            return isinstance(content, dict) and {"kind", "root"} <= content.keys() <= {"kind", "root", "drawn"}
    return False


def _check_options(settings: CorpusSettings) -> None:
    """Raise UsageError for an option that this kind of corpus does not read."""
    for option, value, kinds in (
        ("--context (key corpus.context)", settings.context, ("iemocap", "synthetic", "meld", "csv")),
        ("--labels (key corpus.labels)", settings.labels, ("csv", "mer")),
        ("--columns (key corpus.columns)", settings.columns, ("csv", "mer")),
        ("--normalize-labels (key corpus.normalize_labels)", settings.normalize_labels, ("folder", "csv", "mer")),
    ):
        if value and settings.kind not in kinds:
            raise UsageError(f"{option}: applies to {', '.join(kinds)} only, not to {settings.kind}")


def _build(settings: CorpusSettings, speaker: str | None) -> ManifestResult:
    root, classes = settings.root, settings.classes
    try:
        match settings.kind:
            case "iemocap":
                return iemocap.build(root, classes, context=settings.context)
            case "synthetic":
                return iemocap.build(root, classes, corpus="synthetic", context=settings.context)
            case "cremad":
                return cremad.build(root, classes)
            case "ravdess":
                return ravdess.build(root, classes)
            case "meld":
                return meld.build(root, classes, context=settings.context)
            case "emodb":
                return emodb.build(root, classes)
            case "savee":
                return savee.build(root, classes)
            case "csv" | "mer":
                return csv_table.build(
                    root,
                    classes,
                    labels=settings.labels,
                    columns=settings.columns,
                    normalize_labels=settings.normalize_labels,
                    context=settings.context,
                    corpus="mer" if settings.kind == "mer" else "",
                )
            case "folder":
                return label_folders.build(root, classes, speaker=speaker, normalize_labels=settings.normalize_labels)
    except OSError as error:
        raise ManifestError(
            f"{error.filename or root}: cannot be read ({error.strerror}); no manifest was written: correct the "
            "permissions, or move the file out of the corpus"
        ) from error


def _generator_record(settings: SynthSettings) -> str:
    return json.dumps({"generator": GENERATOR_VERSION, **settings.model_dump()}, sort_keys=True)

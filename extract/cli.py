"""The commands `foal extract`, `index`, `import`, `inspect` and `clean`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import BREAK_LOCK_OPTION, FORCE_OPTION, JSON_OPTION, setting, with_settings
from ..shared.config.settings import INDEX_NAME, Settings
from ..shared.errors import UsageError
from ..shared.files.part import Part
from .import_cli import import_features

__all__ = ["clean", "extract", "import_features", "index", "inspect"]

MANIFEST = setting("corpus.manifest", "--manifest", "-m")
ROOT = setting("corpus.root", "--root", "-r")


@with_settings(
    manifest=MANIFEST,
    root=ROOT,
    allow_outside="corpus.allow_outside",
    features_dir="extract.features_dir",
    streams=setting("extract.streams", metavar="A,B"),
    chunk_seconds="extract.chunk_seconds",
    precision="extract.precision",
    dtype="extract.dtype",
    fingerprint="extract.fingerprint",
    max_failures=setting("extract.max_failures", metavar="N|P%"),
    verify="extract.verify",
    audio_encoder="extract.audio.encoder",
    revision="extract.audio.revision",
    layers=setting("extract.audio.layers", metavar="last|mean|all|N,N,..."),
    channel=setting("extract.audio.channel", metavar="mean|left|right|N"),
    face_encoder="extract.face.encoder",
    region="extract.face.region",
    fps="extract.face.fps",
    text_encoder="extract.text.encoder",
    text_context=setting("extract.text.context", "--text-context"),
    workers=setting("cluster.workers", "--workers", "-j"),
    scheduler="cluster.scheduler",
    wait_workers=setting("cluster.wait_workers", metavar="DURATION"),
    threads="cluster.threads",
    device="cluster.device",
)
def extract(
    *,
    settings: Settings,
    given: frozenset[str],
    split: Annotated[
        list[str],
        typer.Option(
            "--split", "-s", metavar="NAME", help="Session (or corpus) to extract; may be repeated; 'all' for all"
        ),
    ],
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            help="The feats.h5 to write (key index, default: feats.h5; with --features-dir: in that folder)",
            show_default=False,
        ),
    ] = None,
    no_index: Annotated[bool, typer.Option("--no-index", help="Write the shards but no index")] = False,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="I/N",
            help="Extract part I of N without an index; the parts may run at the same time on several machines",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be extracted, with sizes and an estimated time")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry failed utterances even if nothing has changed since")
    ] = False,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Run the frozen encoders over a corpus and write feature shards.

    Each utterance is encoded once, in parallel. Finished shards are kept: rerun the same command to resume.

    Exit code 3: finished, but some utterances failed; see features/SPLIT/failures.csv.
    """
    from .run import extract as run

    if part is not None and index is not None:
        raise UsageError("--part: a part writes no index; leave --index out, and run `foal index` after the last part")
    result = run(
        settings,
        split,
        index=None if no_index or part is not None else index or _index_path(settings, given),
        part=None if part is None else Part.parse(part),
        dry_run=dry_run,
        retry_failed=retry_failed,
        break_lock=break_lock,
        force=force,
    )
    if as_json:
        from ..shared.cli.console import print_json

        print_json(result.as_json())
    raise typer.Exit(result.exit_code)


@with_settings(
    manifest=MANIFEST, root=ROOT, features_dir="extract.features_dir", streams=setting("extract.streams", metavar="A,B")
)
def index(
    *,
    settings: Settings,
    given: frozenset[str],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The feats.h5 to write (key index, default: feats.h5)", show_default=False),
    ] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="Copy the values into the file, so that it can be shared")
    ] = False,
    transcripts: Annotated[
        bool, typer.Option("--transcripts/--no-transcripts", help="Copy the manifest's transcripts into the file")
    ] = True,
    config_hash: Annotated[
        list[str] | None,
        typer.Option(
            "--config-hash",
            metavar="STREAM=HASH",
            help="Shards to use for a stream if the folder has several configurations of it; may be repeated",
        ),
    ] = None,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Write feats.h5, the index over manifest and shards that training reads.

    `foal extract` writes it as well.
    """
    from .maintenance.index import index_features

    path = out or _index_path(settings, given)
    index_features(
        settings,
        path,
        pack=pack,
        config_hashes=config_hash or [],
        transcripts=transcripts,
        break_lock=break_lock,
        force=force,
    )


@with_settings(manifest=MANIFEST, root=ROOT, features_dir="extract.features_dir")
def clean(
    *,
    settings: Settings,
    given: frozenset[str],
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the listed shards instead of only listing them")
    ] = False,
    keep_config: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-config",
            metavar="HASH",
            help="Keep the shards of this config hash (8 or 64 digits); may be repeated",
        ),
    ] = None,
    imported: Annotated[
        bool, typer.Option("--imported", help="Also list imported features of unused configurations")
    ] = False,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
) -> None:
    """Remove unused feature shards (dry run unless --remove).

    Lists shards of other configurations, shards whose utterances changed or are no longer in the manifest, and damaged
    shards. Shards in feats.h5, and files that foal did not write, are kept.
    """
    from .maintenance.clean import clean_features

    path = _index_path(settings, given)
    clean_features(settings, path, keep=keep_config or [], imported=imported, remove=remove, break_lock=break_lock)


@with_settings(root=ROOT, allow_outside="corpus.allow_outside")
def inspect(
    *,
    settings: Settings,
    index: Annotated[
        Path | None, typer.Argument(help="The feats.h5 (default: the one of params.yaml)", show_default=False)
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a table of quality measures per utterance")] = None,
    contact_sheet: Annotated[
        Path | None,
        typer.Option("--contact-sheet", metavar="FILE.png", help="Write a contact sheet of crops and detected faces"),
    ] = None,
    per_speaker: Annotated[
        int, typer.Option("--per-speaker", min=1, max=100, metavar="N", help="Contact sheet: utterances per speaker")
    ] = 2,
    speakers: Annotated[
        int,
        typer.Option(
            "--speakers", min=0, metavar="N", help="Contact sheet: maximum number of speakers (0 = all that fit)"
        ),
    ] = 24,
    stream: Annotated[
        str | None,
        typer.Option("--stream", metavar="NAME", help="Contact sheet: face stream to show (default: the first)"),
    ] = None,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Summarize a feats.h5: utterances, classes, streams, quality and provenance.

    --csv writes quality measures per utterance, --contact-sheet an image of crops and faces for visual inspection.
    Exit code 1 if shards of the index are missing.
    """
    from ..shared.cli.console import get_console, print_json
    from .inspect.tables import check_shards, check_table, describe, summary, write_table

    console = get_console()
    path = index or settings.index
    if csv is not None:
        check_table(csv, force=force)
    if contact_sheet is not None:
        # Checked before torch and the decoders are imported, which takes seconds.
        from .inspect.sheet_layout import check_sheet

        check_sheet(contact_sheet, force=force)
    for part in describe(path):
        console.print(part)
    if csv is not None:
        console.print(write_table(csv, path, force=force))
    if contact_sheet is not None:
        from .inspect.contact_sheet import make_sheet

        console.print(
            make_sheet(
                contact_sheet,
                path,
                root=settings.corpus.root,
                stream=stream,
                per_speaker=per_speaker,
                speakers=speakers,
                allow_outside=settings.corpus.allow_outside,
                force=force,
            )
        )
    if as_json:
        print_json(summary(path))
    check_shards(path)


def _index_path(settings: Settings, given: frozenset[str]) -> Path:
    """The index to use by default: in the features folder if that is given as an option, else that of the settings."""
    return settings.extract.features_dir / INDEX_NAME if "extract.features_dir" in given else settings.index

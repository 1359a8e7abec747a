"""The command `foal predict`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import FORCE_OPTION, JSON_OPTION, setting, with_settings
from ..shared.config.settings import Settings
from ..shared.errors import UsageError

SEGMENTS = ("vad", "fixed")
FACES = ("one", "all")
DEFAULT_WINDOW = 4.0


@with_settings(
    root=setting("corpus.root", "--root", "-r"),
    workers=setting("cluster.workers", "--workers", "-j"),
    threads="cluster.threads",
    device="cluster.device",
)
def predict(
    *,
    settings: Settings,
    given: frozenset[str],
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Media files, folders, patterns, manifests (.csv), or - for a list of paths", show_default=False
        ),
    ],
    model: Annotated[
        Path, typer.Option("--model", "-m", help="Folder of a finished run, or of one model under its models/")
    ] = Path("runs/main"),
    fold: Annotated[
        int | None, typer.Option("--fold", metavar="N", help="Use only the networks of this fold (default: all)")
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="Use the networks that were trained on everything (foal train --final)")
    ] = False,
    window: Annotated[
        float | None,
        typer.Option("--window", min=0.1, metavar="SECONDS", help="Predict windows of this length as well"),
    ] = None,
    hop: Annotated[
        float, typer.Option("--hop", min=0.02, metavar="SECONDS", help="Distance of the starts of windows")
    ] = 1.0,
    segments: Annotated[
        str | None,
        typer.Option(
            "--segments",
            metavar="|".join(SEGMENTS),
            help="Cut the clips: vad (stretches of speech, needs silero-vad) or fixed (pieces of --window seconds, "
            f"default {DEFAULT_WINDOW:g})",
        ),
    ] = None,
    faces: Annotated[
        str,
        typer.Option("--faces", metavar="|".join(FACES), help="Of several faces, predict one, or all: a row for each"),
    ] = "one",
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            metavar="STREAM=NAME",
            help="Folder or name of a stream's encoder, if the recorded one is not here; may be repeated",
        ),
    ] = None,
    speaker_from: Annotated[
        list[str] | None,
        typer.Option(
            "--speaker-from",
            metavar="PATH",
            help="Clips of the speaker, for the statistics of a model with --normalize speaker; may be repeated",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features", metavar="DIR", help="Folder of cached features (default: foal/features in the user's cache)"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Write predictions.jsonl and predictions.csv to this folder"),
    ] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Write a picture of the probabilities over time for each clip (--out)")
    ] = False,
    vtt: Annotated[
        bool, typer.Option("--vtt", help="Write subtitles with the predictions for each clip (--out)")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write a video with the predictions drawn into it for each clip (--out)")
    ] = False,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Predict new clips with a trained model.

    Clips are encoded as for the training of the model, and features are kept in a cache. The probabilities are means
    over all folds and seeds. A modality that a clip lacks is replaced by what the network learned for it.

    Exit code 3: finished, but some clips could not be predicted.
    """
    check_choice("--segments", segments, SEGMENTS)
    check_choice("--faces", faces, FACES)
    if out is None and (timeline or vtt or annotate):
        raise UsageError("--timeline, --vtt and --annotate write files; give a folder with --out")
    from .output.folder import check_folder, write_outputs

    if out is not None:
        check_folder(out, force=force)
    from ..shared.cli.console import get_console, print_json
    from .extraction.cache import cache_folder
    from .output.tables import failure_lines, prediction_table
    from .run import PredictOptions
    from .run import predict as run
    from .sources import find_clips

    clips = find_clips(sources, root=settings.corpus.root)
    cut = segments == "fixed"
    result = run(
        clips,
        model,
        settings,
        PredictOptions(
            encoders=tuple(encoder or ()),
            features=features or cache_folder(),
            workers=settings.cluster.workers if "cluster.workers" in given else 0,
            window=None if cut else window or (DEFAULT_WINDOW if timeline and segments is None else None),
            hop=hop,
            segments=segments,  # type: ignore[arg-type]
            piece=window or DEFAULT_WINDOW,
            all_faces=faces == "all",
            face_boxes=timeline or annotate,
            speaker=find_clips(speaker_from, root=settings.corpus.root) if speaker_from else None,
        ),
        fold=fold,
        final=final,
    )
    console = get_console()
    console.print(prediction_table(result))
    for line in failure_lines(result.failures):
        console.print(f"not predicted: {line}")
    for warning in result.warnings:
        console.print(f"warning: {warning}")
    if out is not None:
        write_outputs(out, result, timeline=timeline, vtt=vtt, annotate=annotate)
        console.print(f"results: {out}")
    if as_json:
        print_json(result.as_json())
    raise typer.Exit(result.exit_code)


def check_choice(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    """Raise UsageError for a value that is none of the choices."""
    if value is not None and value not in choices:
        raise UsageError(f"{option}: expected {' or '.join(choices)}, got {value!r}")

"""`foal train`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import PARAMS_OPTION, SET_OPTION, comma_list, option, settings_from
from ..shared.config.train_settings import TrainSettings
from ..shared.errors import UsageError


def train(
    features: Annotated[Path | None, option("index", "--features", "-f")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results [default: runs/ and what was trained]")
    ] = None,
    modalities: Annotated[str | None, option("train.modalities", "--modalities", metavar="both|audio|face")] = None,
    audio: Annotated[str | None, option("train.audio", "--audio", metavar="NAME")] = None,
    face: Annotated[str | None, option("train.face", "--face", metavar="NAME")] = None,
    align: Annotated[bool | None, option("train.align", "--align/--no-align")] = None,
    match: Annotated[bool | None, option("train.match", "--match/--no-match")] = None,
    protocol: Annotated[str | None, option("train.protocol", "--protocol", metavar="NAME")] = None,
    preset: Annotated[str | None, option("train.preset", "--preset")] = None,
    compat: Annotated[str | None, option("train.compat", "--compat", metavar="reference|A,B")] = None,
    seeds: Annotated[str | None, option("train.seeds", "--seeds", metavar="A,B,...")] = None,
    epochs: Annotated[int | None, option("train.epochs", "--epochs")] = None,
    patience: Annotated[int | None, option("train.patience", "--patience")] = None,
    batch_size: Annotated[int | None, option("train.batch_size", "--batch-size")] = None,
    learning_rate: Annotated[float | None, option("train.learning_rate", "--learning-rate")] = None,
    width: Annotated[int | None, option("train.width", "--width")] = None,
    layers: Annotated[int | None, option("train.layers", "--layers")] = None,
    pool_hz: Annotated[float | None, option("train.pool_hz", "--pool-hz")] = None,
    stream: Annotated[bool | None, option("train.stream", "--stream/--no-stream")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in that folder; what it has done stays")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-j",
            min=0,
            help="Fit side by side on so many Dask workers [default: none]",
        ),
    ] = None,
    scheduler: Annotated[str | None, option("extract.scheduler", "--scheduler")] = None,
    threads: Annotated[int | None, option("train.threads", "--threads")] = None,
    device: Annotated[str | None, option("train.device", "--device")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Train and test the Foal-Net heads.

    Alignment, matching and fusion, on extracted features, fold by fold; the results go into a folder.
    """
    settings = settings_from(
        params,
        assign,
        index=features,
        train__modalities=modalities,
        train__audio=audio,
        train__face=face,
        train__align=align,
        train__match=match,
        train__protocol=protocol,
        train__preset=preset,
        train__compat=comma_list(compat),
        train__pool_hz=pool_hz,
        train__stream=stream,
        extract__workers=workers,
        extract__scheduler=scheduler,
        train__seeds=comma_list(seeds),
        train__epochs=epochs,
        train__patience=patience,
        train__batch_size=batch_size,
        train__learning_rate=learning_rate,
        train__width=width,
        train__layers=layers,
        train__threads=threads,
        train__device=device,
    )
    from ..shared.cli.console import make_console
    from .report.files import table_of
    from .report.progress import shown
    from .report.run_folder import unfinished_run
    from .run import train as run

    console = make_console()
    folder = out or _usual_folder(settings.train)
    parallel = workers is not None or scheduler is not None
    try:
        with shown(console, settings.train) as progress:
            metrics = run(settings, settings.index, folder, resume=resume, parallel=parallel, progress=progress)
    except BaseException as error:  # Ctrl-C and SIGTERM, too
        if not isinstance(error, UsageError) and unfinished_run(folder.resolve()).exists():
            console.print("the run is unfinished: the same command with --resume goes on with it")
        raise
    console.print(table_of(metrics))
    console.print(f"results: {folder}")


def results(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or its metrics.json")] = Path("runs/main"),
) -> None:
    """Show the results of a finished run again."""
    from ..shared.cli.console import make_console
    from .report.files import read_metrics, table_of

    make_console().print(table_of(read_metrics(run)))
    typer.echo(f"results: {run}")


def _usual_folder(settings: TrainSettings) -> Path:
    """Where a run goes that was given no folder: named after what is trained, so that variants do not overwrite."""
    if settings.modalities != "both":
        return Path("runs") / settings.modalities
    without = [name for name, used in (("align", settings.align), ("match", settings.match)) if not used]
    return Path("runs") / "-".join(["both", *(f"no-{name}" for name in without)])


def ablate(
    features: Annotated[Path | None, option("index", "--features", "-f")] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N|A,B,...", help="How many seeds (0 to N - 1), or which, with commas")
    ] = "3",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the table; fits that are in it are kept")] = Path(
        "runs/ablation"
    ),
    faults: Annotated[
        bool, typer.Option("--faults", help="A row more for every fault of the authors' code that changes the numbers")
    ] = False,
    workers: Annotated[int | None, option("extract.workers", "--workers", "-j")] = None,
    scheduler: Annotated[str | None, option("extract.scheduler", "--scheduler")] = None,
    protocol: Annotated[str | None, option("train.protocol", "--protocol", metavar="NAME")] = None,
    audio: Annotated[str | None, option("train.audio", "--audio", metavar="NAME")] = None,
    face: Annotated[str | None, option("train.face", "--face", metavar="NAME")] = None,
    preset: Annotated[str | None, option("train.preset", "--preset")] = None,
    epochs: Annotated[int | None, option("train.epochs", "--epochs")] = None,
    pool_hz: Annotated[float | None, option("train.pool_hz", "--pool-hz")] = None,
    device: Annotated[str | None, option("train.device", "--device")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Compare Foal-Net with its parts taken away.

    And with what is simpler: majority, logistic regression, one modality, late fusion, plain fusion, with alignment,
    with matching, with both. Every fold and seed of each, side by side on Dask workers; what is done is not done again.
    """
    settings = settings_from(
        params, assign, index=features, train__seeds=_seeds(seeds), extract__workers=workers,
        extract__scheduler=scheduler, train__protocol=protocol, train__audio=audio, train__face=face,
        train__preset=preset, train__epochs=epochs, train__pool_hz=pool_hz, train__device=device,
    )  # fmt: skip
    from ..shared.cli.console import make_console
    from .ablate.run import ablate as run
    from .report.ablation import table_of
    from .report.progress import fits_shown

    console = make_console()
    with fits_shown(console) as progress:
        ablation = run(settings, settings.index, out, faults=faults, progress=progress)
    console.print(table_of(ablation))
    console.print(f"results: {out}")


def _seeds(text: str) -> list[int] | list[str]:
    """`5` as five seeds, `3,5` as these two."""
    if "," in text:
        return comma_list(text) or []
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"--seeds: expected how many seeds, or which with commas, got {text!r}")
    return list(range(int(text)))


def evaluate(
    model: Annotated[
        Path,
        typer.Option("--model", "-m", help="Folder of a finished `foal train`, or of one network under its models/"),
    ],
    features: Annotated[Path | None, option("index", "--features", "-f")] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", "-s", help="Session (or corpus) to judge [default: all]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results [default: evaluation in the run's folder]")
    ] = None,
    audio: Annotated[str | None, option("train.audio", "--audio", metavar="NAME")] = None,
    face: Annotated[str | None, option("train.face", "--face", metavar="NAME")] = None,
    stream: Annotated[bool | None, option("train.stream", "--stream/--no-stream")] = None,
    threads: Annotated[int | None, option("train.threads", "--threads")] = None,
    device: Annotated[str | None, option("train.device", "--device")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Say all there is to say of trained networks.

    Scores by class, speaker and session, calibration, retrieval of a voice's emotion among faces, matching, and what
    remains without a modality. No network judges a session that it learned from; other corpora are judged by all.
    """
    settings = settings_from(
        params, assign, index=features, train__audio=audio, train__face=face, train__stream=stream,
        train__threads=threads, train__device=device,
    )  # fmt: skip
    from ..shared.cli.console import make_console
    from .evaluate.run import evaluate as run
    from .report.evaluation import table_of

    console = make_console()
    splits = [name for text in split or ["all"] for name in comma_list(text) or []]
    place = out or model / "evaluation"
    metrics = run(settings, model, settings.index, place, splits=splits, say=console.print)
    console.print(table_of(metrics))
    console.print(f"results: {place}")

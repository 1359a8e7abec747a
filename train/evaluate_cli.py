"""`foal evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import PARAMS_OPTION, SET_OPTION, comma_list, option, settings_from


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
    from .report.evaluation_table import table_of

    console = make_console()
    splits = [name for text in split or ["all"] for name in comma_list(text) or []]
    place = out or model / "evaluation"
    metrics = run(settings, model, settings.index, place, splits=splits, say=console.print)
    console.print(table_of(metrics))
    console.print(f"results: {place}")

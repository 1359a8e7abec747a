"""The commands `foal train`, `tune`, `ablate`, `evaluate` and `results`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import FORCE_OPTION, JSON_OPTION, Setting, setting, with_settings
from ..shared.config.settings import Settings
from .ablate.cli import ablate as ablate  # an entry point, as the commands below
from .options import CLUSTER, LABELS, NUM_SEEDS_OPTION, PROTOCOL, SEEDS, STREAMS, with_changes

HEAD: dict[str, str | Setting] = {"fusion": "train.fusion", "context": "train.context"}
FITTING: dict[str, str | Setting] = {name: f"train.{name}" for name in ("normalize", "select", "refit", "preset")}
ON_DISK_OPTION = typer.Option("--on-disk", help="Read the features from disk in every epoch (key train.load: disk)")
DEFAULT_TRIALS = 50
DEFAULT_RUN = Path("runs/main")


@with_settings(
    **STREAMS,
    **HEAD,
    avel="train.avel",
    mem="train.mem",
    **PROTOCOL,
    **LABELS,
    **FITTING,
    compat=setting("train.compat", metavar="reference|A,B,..."),
    seeds=SEEDS,
    epochs="train.epochs",
    early_stopping_patience="train.early_stopping_patience",
    batch_size="train.batch_size",
    learning_rate="train.learning_rate",
    width="train.width",
    layers="train.layers",
    frame_rate="train.frame_rate",
    **CLUSTER,
    threads="cluster.threads",
)
def train(
    *,
    settings: Settings,
    given: frozenset[str],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run (default: in runs/, named after its configuration)"),
    ] = None,
    num_seeds: Annotated[int | None, NUM_SEEDS_OPTION] = None,
    on_disk: Annotated[bool, ON_DISK_OPTION] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run in that folder; finished fits are kept")
    ] = False,
    final: Annotated[
        bool,
        typer.Option(
            "--final",
            help="Also train a network per seed on all utterances, for the median number of epochs of the folds; no "
            "score belongs to it (with --resume: of a finished run)",
        ),
    ] = False,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Train and test the heads on extracted features with nested cross-validation.

    Writes metrics, predictions, models and plots into a run folder. An existing run is replaced only with --force.
    """
    settings = with_changes(settings, num_seeds=num_seeds, on_disk=on_disk)
    settings.train.check_losses(given)
    from ..shared.cli.console import get_console, print_json
    from .report.files import results_table
    from .report.progress import training_progress
    from .run import default_run_folder
    from .run import train as run
    from .targets.options import check_asked_losses

    check_asked_losses(settings.train, given)
    console = get_console()
    folder = out or default_run_folder(settings, settings.index)
    parallel = settings.cluster.workers > 0 or settings.cluster.scheduler is not None
    with training_progress(settings.train) as progress:
        metrics = run(
            settings,
            settings.index,
            folder,
            resume=resume,
            force=force,
            parallel=parallel,
            final=final,
            progress=progress,
        )
    console.print(results_table(metrics))
    console.print(f"results: {folder}")
    if as_json:
        print_json({"folder": str(folder), **metrics})


def results(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Folder of a finished run, or its metrics.json; several runs over disjoint utterances are pooled "
            f"(default: {DEFAULT_RUN})",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="RUN,...", help="Compare with other runs over the same utterances"),
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the results of a finished run again, or pool several runs.

    Runs over disjoint test groups are pooled into one table with intervals by speaker. --against gives the difference
    in UA to other runs over the same utterances, with its interval and the p value of a permutation test.
    """
    from ..shared.cli.console import get_console, print_json
    from ..shared.cli.options import comma_list

    console = get_console()
    folders, others = runs or [DEFAULT_RUN], [Path(name) for name in comma_list(against) or []]
    if len(folders) > 1 or others:
        from .report.pooled_runs import pooled_results, pooled_table

        pooled = pooled_results(folders, others)
        console.print(pooled_table(pooled))
        if as_json:
            print_json(pooled)
        return
    from .report.files import read_metrics, results_table

    (folder,) = folders
    metrics = read_metrics(folder)
    console.print(results_table(metrics))
    console.print(f"results: {folder}")
    if as_json:
        print_json({"folder": str(folder), **metrics})


@with_settings(
    **STREAMS,
    **HEAD,
    **PROTOCOL,
    **LABELS,
    **FITTING,
    seeds=SEEDS,
    epochs="train.epochs",
    early_stopping_patience="train.early_stopping_patience",
    frame_rate="train.frame_rate",
    **CLUSTER,
)
def tune(
    *,
    settings: Settings,
    trials: Annotated[
        int,
        typer.Option("--trials", "-n", min=2, metavar="N", help="Trials; the first has the current settings"),
    ] = DEFAULT_TRIALS,
    num_seeds: Annotated[int | None, NUM_SEEDS_OPTION] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the study; finished fits in it are reused")
    ] = Path("runs/tune"),
    force: Annotated[
        bool,
        typer.Option("--force", help="Start a study over that was made from something else; keep other files in --out"),
    ] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Search settings of the head, judged by development groups only.

    Fits every trial on every fold and scores it on the fold's development group. On each fold, the best trial is then
    fitted as `foal train` does and scored on the test group, next to the current settings. The fits run side by side on
    Dask workers. Rerun the same command to resume; with more --trials, finished ones are reused.
    """
    settings = with_changes(settings, num_seeds=num_seeds)
    from ..shared.cli.console import get_console, print_json
    from .report.progress import fits_progress
    from .report.tuning import tuning_table
    from .tune.run import tune as run

    console = get_console()
    with fits_progress("tuning") as progress:
        tuning = run(settings, settings.index, out, trials=trials, force=force, progress=progress)
    console.print(tuning_table(tuning))
    console.print(f"results: {out} (tune.md, trials.png, importance.png); settings: {out / 'best.yaml'}")
    if as_json:
        print_json({"folder": str(out), **tuning})


@with_settings(
    **STREAMS,
    threads="cluster.threads",
    device="cluster.device",
)
def evaluate(
    *,
    settings: Settings,
    model: Annotated[
        Path, typer.Option("--model", "-m", help="Folder of a finished run, or of one model under its models/")
    ],
    split: Annotated[
        list[str] | None,
        typer.Option("--split", "-s", metavar="NAME", help="Session (or corpus) to score (default: all)"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results (default: evaluation/ in the run folder)")
    ] = None,
    on_disk: Annotated[bool, ON_DISK_OPTION] = False,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Evaluate trained models in detail.

    Reports scores per class, speaker and session, calibration, cross-modal retrieval, matching, and robustness to a
    missing modality. Each utterance is scored only by models that were not trained on its session; utterances of
    another corpus get the average of all fold models.
    """
    settings = with_changes(settings, on_disk=on_disk)
    from ..shared.cli.console import get_console, print_json
    from ..shared.cli.options import comma_list
    from .evaluate.run import evaluate as run
    from .report.evaluation import evaluation_table

    console = get_console()
    sessions = [name for text in split or ["all"] for name in comma_list(text) or []]
    folder = out or model / "evaluation"
    metrics = run(settings, model, settings.index, folder, sessions=sessions, force=force)
    console.print(evaluation_table(metrics))
    console.print(f"results: {folder}")
    if as_json:
        print_json({"folder": str(folder), **metrics})

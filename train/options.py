"""Options that several training commands share: parameter names with the settings keys that they set."""

import typer

from ..shared.cli.options import Setting, setting
from ..shared.config.settings import Settings

STREAMS: dict[str, str | Setting] = {
    "features": setting("index", "--features", "-f"),
    "streams": setting("train.streams", "--streams", "--modalities", metavar="NAME,..."),
    "fold_features": setting("train.fold_features", metavar="NAME,..."),
}
PROTOCOL: dict[str, str | Setting] = {
    "protocol": "train.protocol",
    "scene_groups": setting("train.scene_groups", metavar="N"),
}
LABELS: dict[str, str | Setting] = {
    "target": setting("train.target", metavar="NAME,..."),
    **{name: f"train.{name}" for name in ("dev_from_train", "normalize_labels", "accept_labels")},
}
SEEDS = setting("train.seeds", metavar="A,B,...")
CLUSTER: dict[str, str | Setting] = {
    "workers": setting("cluster.workers", "--workers", "-j"),
    "scheduler": "cluster.scheduler",
    "wait_workers": setting("cluster.wait_workers", metavar="DURATION"),
    "device": "cluster.device",
}
NUM_SEEDS_OPTION = typer.Option("--num-seeds", min=1, metavar="N", help="Use the seeds 0 to N - 1", show_default=False)


def with_changes(settings: Settings, *, num_seeds: int | None = None, on_disk: bool = False) -> Settings:
    """Apply --num-seeds and --on-disk to the settings."""
    changes: dict[str, object] = {} if num_seeds is None else {"seeds": tuple(range(num_seeds))}
    if on_disk:
        changes["load"] = "disk"
    return settings.model_copy(update={"train": settings.train.model_copy(update=changes)}) if changes else settings

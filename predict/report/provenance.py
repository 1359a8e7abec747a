"""Where the numbers come from, and the commands that give them again."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ...shared.config.train_settings import TrainSettings
from .layout import Section, text_table
from .sources import ABLATION, EVALUATION, FUSIONS, RUN, Source


def provenance_section(source: Source, *, index: str) -> Section:
    """Hashes, versions, encoders, settings and commands.

    Args:
        source: what the report is made from.
        index: the feats.h5 as the commands name it.
    """
    content = source.content
    facts = {
        "Folder": str(source.folder),
        "Protocol": content["protocol"],
        "Features": content["features"],
        "Folds": content.get("folds_digest") or content.get("run", {}).get("folds_digest", ""),
        "Seeds": ", ".join(map(str, content["seeds"])),
        "Streams": ", ".join(content.get("streams") or []),
        "Head": str(content.get("fusion") or ""),
        "Computed with": content.get("versions", ""),
        "Device": str(source.metadata.get("device") or ""),
    }
    tables = []
    if made := source.metadata.get("provenance"):
        rows = [
            [
                stream,
                str(part.get("encoder") or ""),
                str(part.get("revision") or ""),
                str(part.get("weights") or "")[:12],
                str(part.get("config_hash") or "")[:8],
            ]
            for stream, part in made.items()
        ]
        head = ["stream", "encoder", "revision", "weights", "configuration"]
        tables.append(text_table("Encoders", head, rows, names=len(head)))
    settings = _settings(source)
    return Section(
        key="provenance",
        title="Provenance",
        facts={name: value for name, value in facts.items() if value},
        tables=tables,
        commands=commands(source, index=index),
        listing=json.dumps({"train": settings}, indent=2, ensure_ascii=False) if settings else "",
    )


def commands(source: Source, *, index: str) -> list[str]:
    """The commands that compute the results again from the same features, without quoting errors."""
    features, folder = ["--features", index], str(source.folder)
    changes = _changed(_settings(source))
    if source.kind in (RUN, EVALUATION):
        run = folder if source.kind == RUN else str(source.folder.parent)
        lines = [["foal", "train", *features, "--out", run, *changes]] if changes or source.metadata else []
        if source.kind == EVALUATION or source.evaluation:
            sessions = [name for name in source.evaluation.get("sessions", []) if name != "all"]
            split = ["--split", ",".join(sessions)] if sessions else []
            lines.append(["foal", "evaluate", *features, "--model", run, *split])
    elif source.kind in (ABLATION, FUSIONS):
        named = []
        if source.kind == FUSIONS:
            systems = dict.fromkeys(row["fusion"] for row in source.content["rows"] if row["fusion"])
            named = ["--fusions", ",".join(systems)]
        lines = [["foal", "ablate", *features, "--out", folder, *named, *changes]]
    else:
        trials = str(len(source.content["trials"]))
        lines = [["foal", "tune", *features, "--out", folder, "--trials", trials, *changes]]
    return [shlex.join(line) for line in [*lines, ["foal", "report", folder]]]


def _settings(source: Source) -> Mapping[str, Any]:
    settings = source.metadata.get("settings") or source.content.get("settings") or {}
    return settings if isinstance(settings, dict) else {}


def _changed(settings: Mapping[str, Any]) -> list[str]:
    """The settings of training that are not the default, as --set options."""
    default = TrainSettings().model_dump(mode="json")
    changed = {name: value for name, value in settings.items() if name not in default or default[name] != value}
    options = []
    for name, value in changed.items():
        options += ["--set", f"train.{name}={json.dumps(value)}"]
    return options

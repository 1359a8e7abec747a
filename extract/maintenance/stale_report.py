"""Reports what `foal index` leaves out: stale rows and unused shards, with the reason, some ids and the remedy."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from ...shared.errors import StoreError
from ...shared.files.media_state import MediaState
from ...shared.store.catalog import shard_files
from ...shared.store.shard import ShardReader
from ...shared.text import counted, preview_ids, shortened
from .row_states import ABSENT, ACCEPTED_STATES, NEWER
from .stale import OTHER, StaleReport

EXTRACT_AGAIN = "`foal extract` extracts them again"
NO_CONTENT_HASH = (
    "their shards have no content hash, so that it is unknown whether the content is the same; `foal extract` extracts "
    "them again, or restore the times (cp -p, rsync -t, unzip without -DD)"
)
IN_NEWER_SHARDS = "they are in newer shards; nothing is missing"

log = logging.getLogger(__name__)


def report_stale(report: StaleReport, manifest: Path) -> None:
    """Report the files in a features folder that the index does not use.

    Args:
        report: what was found in the folder.
        manifest: the manifest, for the message.
    """
    unused: dict[str, list[int]] = {}
    examples: dict[str, Path] = {}
    reasons: Counter[str] = Counter()
    for file in report.stale:
        if file.reason == OTHER:
            folder = f"{file.modality}-{file.config_hash}"
            unused.setdefault(folder, []).append(file.size)
            examples.setdefault(folder, file.path)
        else:
            reasons[file.reason] += 1
    for folder, sizes in unused.items():
        # They may belong to another stream of the settings that is not indexed here; `foal clean` distinguishes.
        difference = _difference(examples[folder], list(report.ids))
        log.info(
            f"not in the index: {folder}: {counted(len(sizes), 'shard')} of {OTHER}, {decimal(sum(sizes))}{difference}"
        )
    for folder, states in report.ids.items():
        total = sum(map(len, states.values()))
        if accepted := states.get(MediaState.TIME_ONLY):
            log.info(
                f"accepted: {folder}: {MediaState.TIME_ONLY}: {preview_ids(accepted)}; the media have other times and "
                "the same content, as after a copy"
            )
        stale = {state: ids for state, ids in sorted(states.items()) if state not in ACCEPTED_STATES}
        if stale:
            log.info(f"stale: {folder}: {sum(map(len, stale.values()))} of {total} rows are no longer current")
        for state, ids in stale.items():
            log.info(f"stale: {folder}: {state}: {preview_ids(ids)}; {_remedy(state, manifest)}")
    for reason, count in reasons.items():
        log.info(f"stale: {counted(count, 'shard')} {reason}")
    if report.stale:
        log.info("`foal clean` lists the files that settings and manifest no longer need")


def _remedy(state: str, manifest: Path) -> str:
    if state == ABSENT:
        return f"check that {manifest} is the right manifest"
    if state == NEWER:
        return IN_NEWER_SHARDS
    return NO_CONTENT_HASH if state == MediaState.TIME else EXTRACT_AGAIN


def _difference(unused: Path, used: list[str]) -> str:
    """The settings in which an unused shard differs from the shards in use, such as "; fps 10 -> 5"."""
    features, modality = unused.parent.parent.parent, unused.parent.name.rpartition("-")[0]
    config = _config_of(unused)
    differences: list[list[str]] = []
    for folder in used:
        name, _, short_hash = folder.rpartition("-")
        other = next((other for path in shard_files(features, name, short_hash) if (other := _config_of(path))), None)
        if name == modality and config and other:
            changed = [key for key in sorted({*config, *other}) if config.get(key) != other.get(key)]
            differences.append([f"{key} {_text(config.get(key))}, in use {_text(other.get(key))}" for key in changed])
    # With several streams of a modality, the most similar one says most.
    closest = min(differences, key=len, default=[])
    return f" ({'; '.join(closest)})" if closest else ""


def _config_of(path: Path) -> Mapping[str, Any]:
    with suppress(StoreError), ShardReader(path) as shard:
        return {"encoder": shard.header.encoder, **shard.header.config}
    return {}


def _text(value: Any) -> str:
    return shortened(value if isinstance(value, str) else json.dumps(value), 60)

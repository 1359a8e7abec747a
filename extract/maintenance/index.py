"""The spine of `foal index`: which shards, joined with which manifest, and what else lies in the folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from ...shared.cli.console import get_console
from ...shared.config.settings import (
    MODALITIES,
    STREAM_NAME,
    AudioSettings,
    ExtractSettings,
    FaceSettings,
    Settings,
    modality_of,
)
from ...shared.errors import EncoderError, StoreError, UsageError
from ...shared.manifest import read_manifest
from ...shared.store.catalog import SHORT_HASH_LENGTH, MediaFingerprints, config_hashes_on_disk, shard_files
from ...shared.store.index_writer import choose_config_hashes, write_index
from ...shared.store.shard import ShardHeader, ShardReader
from ..encoders.weights import FACENET_SIZE
from ..schedule.stream_spec import present_key
from ..schedule.summary import report_index
from .stale import CURRENT, OTHER, StaleReport, find_stale

ALWAYS_SAID = ("layers", "view", "fps")


def index_features(settings: Settings, out: Path, *, pack: bool, keys: Sequence[str]) -> None:
    """Write feats.h5 over the shards in the features folder, and say which they are and what is stale beside them.

    Where the folder holds shards of several keys, those of the present settings count, unless `keys` (STREAM=KEY) say
    otherwise.
    """
    console = get_console()
    manifest = read_manifest(settings.corpus.manifest)
    features, media = settings.extract.features_dir, MediaFingerprints(settings.corpus.root)
    given = _given(keys)
    streams = sorted(
        dict.fromkeys((*settings.extract.streams, *given)), key=lambda name: MODALITIES.index(modality_of(name))
    )
    chosen = choose_config_hashes(features, streams, _preferred(settings.extract, streams, given))
    for stream in streams:
        if stream in chosen:
            modality, key = modality_of(stream), chosen[stream][:SHORT_HASH_LENGTH]
            console.print(f"{stream}: {_how(features, modality, key)} -> {modality}-{key}")
        else:
            console.print(f"{stream}: there are no shards in {features}, so it is not in the index")
    report_index(write_index(out, manifest, features, chosen, media=media, pack=pack), console)
    _report_stale(find_stale(features, manifest, chosen, media), console)


def _given(keys: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in keys:
        stream, equals, key = text.partition("=")
        modality, slash, name = stream.partition("/")
        if not equals or not key or modality not in MODALITIES or (slash and not STREAM_NAME.fullmatch(name)):
            known = " or ".join(MODALITIES)
            raise UsageError(f"--key: expected STREAM=KEY with a stream such as {known} or face/clip, got {text!r}")
        given[stream] = key
    return given


def _preferred(settings: ExtractSettings, streams: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The key of every stream for which it matters: a folder with one key for the only stream leaves no choice.

    Raises UsageError if there are shards, but none of a stream's key.
    """
    features, preferred = settings.features_dir, dict(given)
    wanted = Counter(map(modality_of, streams))
    for stream in streams:
        modality = modality_of(stream)
        on_disk = config_hashes_on_disk(features, modality)
        there = f"on disk are the keys {', '.join(on_disk)}; choose with --config-hash {stream}=KEY"
        if stream in given:
            if not on_disk:
                raise UsageError(
                    f"--config-hash {stream}={given[stream]}: there are no {modality} shards in {features}"
                )
        elif len(on_disk) > 1 or (on_disk and wanted[modality] > 1):
            # Hashing the weights takes a while, and they need not be on this machine: only when it matters.
            try:
                key = present_key(settings, stream)
            except EncoderError as error:
                raise UsageError(
                    f"{features}: which shards are those of {stream} cannot be told: {error}\n{there}"
                ) from None
            if key[:SHORT_HASH_LENGTH] not in on_disk:
                raise UsageError(
                    f"{features}: there are no shards of {stream} as it is set ({modality}-{key[:SHORT_HASH_LENGTH]}); "
                    f"extract them (`foal extract --streams {stream}`), leave {stream} out with --streams, or: "
                    f"{there}"
                )
            preferred[stream] = key
    return preferred


def _how(features: Path, modality: str, key: str) -> str:
    """How the shards of a key were made, in one line for people: what says most, and what is not as usual."""
    for path in shard_files(features, modality, key):
        with suppress(StoreError), ShardReader(path) as shard:
            return describe(shard.header)
    return "no shard that can be read"


def describe(header: ShardHeader) -> str:
    """An encoder and its configuration, such as `wav2vec2-base (main), layers last, fp32`."""
    config = header.config
    fields = (AudioSettings if header.modality == "audio" else FaceSettings).model_fields
    # The hub's commits have 40 digits.
    parts = [f"{header.encoder} ({header.revision[:12]})" if header.revision else header.encoder]
    if config.get("provenance") == "imported":
        parts += [f"named {config['name']}"] if "name" in config else []
        parts.append(f"{header.rate_hz:g} Hz")
    usual = {name: field.default for name, field in fields.items()} | {"size": FACENET_SIZE}
    for name, value in usual.items():
        if config.get(name) is not None and (name in ALWAYS_SAID or config[name] != value):
            parts.append(_said(name, config[name]))
    if "precision" in config:
        parts.append(str(config["precision"]))
    if (store := config.get("store", "float16")) != "float16":
        parts.append(f"stored as {store}")
    return ", ".join(parts)


def _said(name: str, value: Any) -> str:
    if name == "fps":
        return f"{value:g} Hz" if isinstance(value, int | float) else f"{value} Hz"
    return f"{name.replace('_', ' ')} {','.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def _report_stale(findings: StaleReport, console: Console) -> None:
    """Say what in the folder the index does not use."""
    others: dict[str, list[int]] = {}
    reasons: Counter[str] = Counter()
    for one in findings.stale:
        if one.reason == OTHER:
            others.setdefault(f"{one.modality}-{one.key}", []).append(one.size)
        else:
            reasons[one.reason] += 1
    for folder, sizes in others.items():
        # Perhaps of another stream of the settings, which was not asked for here: `foal clean` knows.
        console.print(f"not in the index: {folder}: {_shards(len(sizes))} of {OTHER}, {decimal(sum(sizes))}")
    for folder, rows in findings.rows.items():
        total = sum(rows.values())
        if old := total - rows.get(CURRENT, 0):
            why = ", ".join(f"{count} {state}" for state, count in sorted(rows.items()) if state != CURRENT)
            console.print(f"stale: {folder}: {old} of {total} rows are no longer current ({why})")
    for reason, count in reasons.items():
        console.print(f"stale: {_shards(count)} {reason}")
    if findings.stale:
        console.print("`foal clean` lists what the present settings and manifest no longer need")


def _shards(count: int) -> str:
    return f"{count} shard{'s' * (count != 1)}"

"""The main flow of `foal index`: choose the shards of each stream, write feats.h5, and report stale files.

It also merges what the parts of an extraction (`foal extract --part`) recorded about failures.

foal index                                             the shards of the current settings
foal index --pack --no-transcripts -o share/feats.h5   one file with all values, to share
foal index --config-hash face=1a2b3c4d                 one of several configurations in the folder
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ...shared.config.settings import (
    MODALITIES,
    STREAM_NAME,
    AudioSettings,
    ExtractSettings,
    FaceSettings,
    Settings,
    StreamSettings,
    TextSettings,
    modality_of,
)
from ...shared.errors import EncoderError, UsageError
from ...shared.files.atomic import remove_stale_temporaries
from ...shared.files.lock import features_lock
from ...shared.files.media_state import MediaFingerprints
from ...shared.manifest import read_manifest
from ...shared.store.catalog import SHORT_HASH_LENGTH, config_hashes_on_disk, read_catalog, store_catalog
from ...shared.store.index_writer import choose_config_hashes, write_index
from ...shared.store.shard import ShardHeader
from ...shared.text import counted
from ...shared.utterance import TEXT, Utterance
from ..encoders.weights import FACENET_SIZE
from ..face.config import DEFAULT_MARGIN
from ..schedule.failures import merge_part_failures
from ..schedule.stream_spec import current_config_hash
from ..schedule.summary import print_index_result
from .stale import find_stale
from .stale_report import report_stale

ALWAYS_SHOWN = ("layers", "region", "fps")
"""Settings that describe a stream even where they have their default value."""

SETTINGS_OF: Mapping[str, type[StreamSettings]] = {"audio": AudioSettings, "face": FaceSettings, "text": TextSettings}

log = logging.getLogger(__name__)


def index_features(
    settings: Settings,
    out: Path,
    *,
    pack: bool,
    config_hashes: Sequence[str],
    transcripts: bool = True,
    break_lock: bool = False,
    force: bool = False,
) -> None:
    """Write feats.h5 over the shards in the features folder, and report which they are and which files are stale.

    Where the folder has shards of several configurations, those of the current settings are used.

    Args:
        settings: the manifest, the streams and the features folder.
        out: the index to write.
        pack: copy the values into the index.
        config_hashes: `STREAM=HASH`, the configuration to use for a stream.
        transcripts: copy the manifest's transcripts into the index.
        break_lock: take over the features folder from a run on another machine that is known to have ended.
        force: replace a file at `out` that is not a feats.h5.

    Raises:
        UsageError: the configuration of a stream is ambiguous or missing, or `out` is another file.
        StoreError: there are no shards.
        FoalError: a run or a part of one holds the features folder.
    """
    manifest = read_manifest(settings.corpus.manifest)
    features = settings.extract.features_dir
    # A folder on a read-only disk is indexed as well: there is nothing to merge. A missing one is not created.
    is_writable = os.access(features, os.W_OK)
    with features_lock(features, break_lock=break_lock) if is_writable else nullcontext("") as taken_over:
        if taken_over:
            log.info(taken_over)
        if is_writable:
            remove_stale_temporaries(features, out, locked=True)
            for path in merge_part_failures(settings, manifest):
                log.info(f"{path}: lists what failed in the parts of the extraction")
        _write_and_report(
            settings, manifest, out, pack=pack, config_hashes=config_hashes, transcripts=transcripts, force=force
        )


def _write_and_report(
    settings: Settings,
    manifest: Sequence[Utterance],
    out: Path,
    *,
    pack: bool,
    config_hashes: Sequence[str],
    transcripts: bool,
    force: bool,
) -> None:
    """Write the index and report stale files, see `index_features`."""
    features = settings.extract.features_dir
    media = MediaFingerprints(settings.corpus.root, features)
    given = _parse_config_hashes(config_hashes)
    streams = sorted(
        dict.fromkeys((*settings.extract.streams, *given)), key=lambda name: MODALITIES.index(modality_of(name))
    )
    chosen = choose_config_hashes(features, streams, _preferred_hashes(settings.extract, streams, given))
    catalogs = {stream: read_catalog(features, modality_of(stream), chosen[stream]) for stream in chosen}
    for stream in streams:
        if stream in chosen:
            header = next(iter(catalogs[stream].headers.values()), None)
            description = "no readable shard" if header is None else format_stream_config(header)
            log.info(f"{stream}: {description} -> {modality_of(stream)}-{chosen[stream][:SHORT_HASH_LENGTH]}")
        else:
            log.info(f"{stream}: no shards in {features}; left out of the index")
    result = write_index(
        out,
        manifest,
        features,
        chosen,
        catalogs=catalogs,
        media=media,
        pack=pack,
        transcripts=transcripts,
        force=force,
    )
    for catalog in catalogs.values():
        store_catalog(catalog)  # parts that ran side by side have each stored their own shards
    print_index_result(result)
    if pack and transcripts and (spoken := sum(utterance.has(TEXT) for utterance in manifest)):
        log.info(
            f"{out}: contains the transcripts of {counted(spoken, 'utterance')}, people's own words; --no-transcripts "
            "leaves them out, where the licence of the corpus forbids handing them on"
        )
    report_stale(find_stale(features, manifest, chosen, media, catalogs=catalogs), settings.corpus.manifest)
    media.remember()


def format_stream_config(header: ShardHeader) -> str:
    """Describe an encoder and its configuration in one line, such as `wav2vec2-base (main), layers last, fp32`.

    Settings with their default value are left out, except those of ALWAYS_SHOWN.
    """
    config = header.config
    fields = SETTINGS_OF.get(header.modality, FaceSettings).model_fields
    # The hub's commits have 40 digits.
    parts = [f"{header.encoder} ({header.revision[:12]})" if header.revision else header.encoder]
    if config.get("provenance") == "imported":
        if "name" in config:
            parts.append(f"named {config['name']}")
        parts.append(f"{header.rate_hz:g} Hz" if header.rate_hz else "no rate")
    margin = DEFAULT_MARGIN["stretched" if config.get("crop_shape") == "stretched" else "square"]
    defaults = {name: field.default for name, field in fields.items()} | {"size": FACENET_SIZE, "margin": margin}
    for name, default in defaults.items():
        if config.get(name) is not None and (name in ALWAYS_SHOWN or config[name] != default):
            parts.append(_format_setting(name, config[name]))
    if "precision" in config:
        parts.append(str(config["precision"]))
    if (dtype := config.get("dtype", "float16")) != "float16":
        parts.append(f"stored as {dtype}")
    return ", ".join(parts)


def _parse_config_hashes(texts: Sequence[str]) -> dict[str, str]:
    """The hashes of --config-hash by stream. Raises UsageError."""
    config_hashes: dict[str, str] = {}
    for text in texts:
        stream, equals, config_hash = text.partition("=")
        modality, slash, name = stream.partition("/")
        if not equals or not config_hash or modality not in MODALITIES or (slash and not STREAM_NAME.fullmatch(name)):
            known = " or ".join(MODALITIES)
            raise UsageError(
                f"--config-hash: expected STREAM=HASH with a stream such as {known} or face/clip, got {text!r}"
            )
        config_hashes[stream] = config_hash
    return config_hashes


def _preferred_hashes(settings: ExtractSettings, streams: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The hash of every stream with more than one candidate. Raises UsageError if it has no shards."""
    features = settings.features_dir
    preferred = dict(given)
    streams_of = Counter(map(modality_of, streams))
    for stream in streams:
        modality = modality_of(stream)
        on_disk = config_hashes_on_disk(features, modality)
        choice = f"the folder has the config hashes {', '.join(on_disk)}; choose one with --config-hash {stream}=HASH"
        if stream in given:
            if not on_disk:
                raise UsageError(
                    f"--config-hash {stream}={given[stream]}: there are no {modality} shards in {features}"
                )
        elif len(on_disk) > 1 or (on_disk and streams_of[modality] > 1):
            # Computed only when it matters: hashing weights takes time, and they need not be on this machine.
            try:
                config_hash = current_config_hash(settings, stream)
            except EncoderError as error:
                raise UsageError(
                    f"{features}: the shards of {stream} cannot be identified: {error}\n{choice}"
                ) from None
            short_hash = config_hash[:SHORT_HASH_LENGTH]
            if short_hash not in on_disk:
                raise UsageError(
                    f"{features}: there are no shards of {stream} with the current settings ({modality}-{short_hash}); "
                    f"extract them (`foal extract --streams {stream}`), or leave {stream} out with --streams, or: "
                    f"{choice}"
                )
            preferred[stream] = config_hash
    return preferred


def _format_setting(name: str, value: Any) -> str:
    if name == "fps":
        return f"{value:g} Hz" if isinstance(value, int | float) else f"{value} Hz"
    return f"{name.replace('_', ' ')} {','.join(map(str, value)) if isinstance(value, list | tuple) else value}"

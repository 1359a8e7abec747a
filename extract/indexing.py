"""The index that `foal extract` writes: the streams of the run, and others that cover the same utterances."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..shared.config.settings import MODALITIES, Settings, modality_of
from ..shared.errors import EncoderError, StoreError
from ..shared.files.media_state import MediaFingerprints
from ..shared.store.catalog import Catalog, read_catalog, store_catalog
from ..shared.store.index_reader import read_index_header
from ..shared.store.index_writer import IndexResult, write_index
from ..shared.text import preview_ids
from ..shared.utterance import Utterance, split_names
from .maintenance.clean import IMPORTED
from .schedule.stream_spec import StreamSpec, current_config_hash

log = logging.getLogger(__name__)


def index_streams(
    settings: Settings,
    manifest: Sequence[Utterance],
    utterances: Sequence[Utterance],
    specs: Sequence[StreamSpec],
    catalogs: Mapping[str, Catalog],
    media: MediaFingerprints,
    path: Path,
    *,
    force: bool,
) -> IndexResult:
    """Index the streams of this run, all sessions included, and other streams that cover the same utterances.

    The others are those of the settings, and those that `foal import` has added to the index.
    """
    features = settings.extract.features_dir
    all_splits = split_names(manifest)
    other_splits = sorted({*all_splits} - {*split_names(utterances)})
    indexed: dict[str, Catalog] = {}
    for spec in specs:
        indexed[spec.stream] = catalogs[spec.stream]
        indexed[spec.stream].update(read_catalog(features, spec.modality, spec.config_hash, other_splits))
    matched = [indexed[spec.stream].match(manifest, spec.modality, media) for spec in specs]
    covered = np.all([rows >= 0 for rows in matched], axis=0)
    config_hashes = {spec.stream: spec.config_hash for spec in specs}
    by_hash = {spec.config_hash: indexed[spec.stream] for spec in specs}
    for stream in (*MODALITIES, *settings.extract.encoders):
        if stream in config_hashes:
            continue
        with suppress(EncoderError):
            config_hash = current_config_hash(settings.extract, stream)
            if config_hash not in by_hash:
                by_hash[config_hash] = read_catalog(features, modality_of(stream), config_hash, all_splits)
            catalog = by_hash[config_hash]
            if (catalog.match(manifest, modality_of(stream), media)[covered] >= 0).all():
                config_hashes[stream] = config_hash
                indexed[stream] = catalog
    for stream, config_hash in _imported_streams(path).items():
        if stream not in config_hashes:
            catalog = read_catalog(features, modality_of(stream), config_hash, all_splits)
            lacking = covered & (catalog.match(manifest, modality_of(stream)) < 0)
            if lacking.any():
                missing = [manifest[row].id for row in np.flatnonzero(lacking).tolist()]
                log.warning(
                    f"{path}: the imported stream {stream} is no longer in the index, because it lacks "
                    f"{preview_ids(missing)}; import it for all utterances"
                )
                continue
            config_hashes[stream] = config_hash
            indexed[stream] = catalog
    result = write_index(
        path, manifest, features, dict(sorted(config_hashes.items())), catalogs=indexed, media=media, force=force
    )
    for catalog in (*by_hash.values(), *indexed.values()):
        store_catalog(catalog)
    media.remember()
    return result


def _imported_streams(index: Path) -> dict[str, str]:
    """The imported streams of an index that is to be replaced, with their configuration hashes."""
    try:
        streams = read_index_header(index).streams
        return {name: info.config_hash for name, info in streams.items() if info.encoder == IMPORTED}
    except StoreError:  # no index yet, or a damaged one
        return {}

"""The streams that an earlier index already has over a features folder, and that an import keeps."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...shared.config.settings import MODALITIES, modality_of
from ...shared.errors import StoreError, UsageError
from ...shared.store.catalog import Catalog, read_catalog
from ...shared.store.feature_store import FeatureStore
from ...shared.utterance import Utterance

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EarlierStream:
    """A stream of an earlier index: the hash of its configuration, and its shards."""

    config_hash: str
    catalog: Catalog


def read_earlier_streams(
    indexes: Iterable[Path], features: Path, replaced: Mapping[str, str], splits: Iterable[str]
) -> dict[str, EarlierStream]:
    """Read the streams of the first index whose shards are all below `features`.

    Args:
        indexes: the index to be written, then the index of the settings.
        features: the features folder.
        replaced: the streams that the import writes, with their configuration hashes; they are left out.
        splits: the splits of the manifest.

    Raises:
        UsageError: the index to be written is packed: its values may exist nowhere else.
    """
    target, *others = dict.fromkeys(indexes)
    splits = list(splits)
    for index in (target, *others):
        if not index.exists():
            continue
        try:
            with FeatureStore(index) as store:
                if store.packed_inside:
                    if index == target:
                        raise UsageError(
                            f"{index}: contains its features (it was written with --pack), which an import cannot keep;"
                            " choose another folder with --out, or replace it with --replace-index"
                        )
                    continue
                streams, shards = store.streams, store.shard_paths
        except StoreError as error:
            if index == target:
                log.warning(f"{error}\nOnly the streams of this import are indexed.")
            continue
        if index != target and not all(shard.resolve().is_relative_to(features.resolve()) for shard in shards):
            continue
        return {
            name: EarlierStream(
                config_hash=stream.config_hash,
                catalog=read_catalog(features, modality_of(name), stream.config_hash, splits),
            )
            for name, stream in streams.items()
            if name not in replaced and stream.config_hash not in replaced.values()
        }
    return {}


def find_any(utterance: Utterance, streams: Mapping[str, EarlierStream]) -> bool:
    """Whether any of the streams has a row for the utterance."""
    return any(found.catalog.find(utterance, modality_of(name)) is not None for name, found in streams.items())


def check_overlap(utterances: Sequence[Utterance], streams: Mapping[str, EarlierStream], index: Path) -> None:
    """Raise UsageError if an index over these utterances and streams would have no row."""
    if streams and not any(
        all(found.catalog.find(utterance, modality_of(name)) is not None for name, found in streams.items())
        for utterance in utterances
    ):
        raise UsageError(
            f"{index}: no utterance of the manifest has a current row in its stream {' and '.join(streams)}; choose "
            "another folder with --out, or leave the earlier streams out of the index with --replace-index"
        )


def in_order(config_hashes: Mapping[str, str]) -> dict[str, str]:
    """The streams in the usual order: by modality, then as given."""
    return dict(sorted(config_hashes.items(), key=lambda item: MODALITIES.index(modality_of(item[0]))))

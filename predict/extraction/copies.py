"""Features that several faces of a clip share: its sound and its words are extracted once, and copied for each face."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...shared.files.media_state import MediaFingerprints
from ...shared.store.catalog import Catalog, read_shards, shard_folder, shard_name
from ...shared.store.shard import ShardReader, ShardWriter
from ...shared.utterance import Utterance
from ..sources import clip_of_face
from .encoders import ModelStream


def extracted_as(utterance: Utterance, found: ModelStream) -> Utterance:
    """The utterance that features of a stream are extracted for; those of faces depend on the face, others do not."""
    return utterance if found.spec.modality == "face" else clip_of_face(utterance)


def distinct(utterances: Sequence[Utterance], found: ModelStream) -> list[Utterance]:
    """The utterances to extract in a stream, each once."""
    return list({(own := extracted_as(utterance, found)).id: own for utterance in utterances}.values())


def copy_for_faces(
    catalog: Catalog, utterances: Sequence[Utterance], found: ModelStream, *, folder: Path, media: MediaFingerprints
) -> None:
    """Write the features of clips again under the ids of their faces, as an index allows no two rows to share frames.

    Args:
        catalog: the shards of the stream; those of the copies are added.
        utterances: utterances whose clips are in the catalog.
        found: the stream.
        folder: the cache.
        media: the state of the media files.
    """
    spec = found.spec
    for utterance in utterances:
        own = extracted_as(utterance, found)
        if own.id == utterance.id:
            continue
        name = shard_name(spec.modality, [utterance], spec.context)
        path = shard_folder(folder, utterance.split, spec.modality, spec.config_hash) / name
        if path.exists():
            catalog.update(read_shards([path], spec.modality, spec.config_hash))
        location = catalog.find(own, spec.modality, media)
        if location is None or catalog.find(utterance, spec.modality, media) is not None:
            continue
        with ShardReader(location.shard) as reader, ShardWriter(path, spec.header, dtype=spec.dtype) as writer:
            writer.add(replace(reader.entry(location.row), id=utterance.id))
        catalog.update(read_shards([path], spec.modality, spec.config_hash))

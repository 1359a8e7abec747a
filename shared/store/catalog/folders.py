"""Where shards are: the folder of each split, modality and configuration, and the names of its files."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from ...files.atomic import TEMPORARY_PREFIX
from ...files.unicode_names import nfc
from ...utterance import Utterance, split_folder

SHORT_HASH_LENGTH = 8


def shard_folder(features: Path, split: str, modality: str, config_hash: str) -> Path:
    """The folder of a split's shards: features/<split>/<modality>-<first digits of the hash>."""
    return features / split_folder(split) / f"{modality}-{config_hash[:SHORT_HASH_LENGTH]}"


def shard_name(modality: str, utterances: Iterable[Utterance], context: int = 0) -> str:
    """The file name of a shard: the same utterances (with the same `context`) give the same name."""
    content = [(nfc(utterance.id), utterance.source(modality, context)) for utterance in utterances]
    return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest() + ".h5"


def config_hashes_on_disk(features: Path, modality: str) -> list[str]:
    """The shortened configuration hashes of which the folder holds shards of a modality."""
    folders = features.glob(f"*/{modality}-{'[0-9a-f]' * SHORT_HASH_LENGTH}")
    return sorted({folder.name.removeprefix(f"{modality}-") for folder in folders if any(folder.glob("*.h5"))})


def shard_files(features: Path, modality: str, config_hash: str, splits: Iterable[str] | None = None) -> list[Path]:
    """The shard files of a modality and configuration, sorted, without temporary files.

    Args:
        features: the features folder.
        modality: audio, face or text.
        config_hash: the configuration hash, or at least its first eight digits.
        splits: the splits to look in (default: all).
    """
    if splits is None:
        folders = sorted(features.glob(f"*/{modality}-{config_hash[:SHORT_HASH_LENGTH]}"))
    else:
        folders = [shard_folder(features, split, modality, config_hash) for split in splits]
    return [
        path
        for folder in folders
        for path in sorted(folder.glob("*.h5"), key=lambda path: path.name)
        if not path.name.startswith(TEMPORARY_PREFIX)
    ]

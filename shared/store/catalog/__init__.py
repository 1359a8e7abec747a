"""The catalog of a features folder: the shards of each split, modality and configuration, and their utterances.

rows.py holds the rows of shards in columns, catalog.py finds utterances in them, reading.py reads them from the shards
and from the tables that catalog_file.py stores beside the shards.
"""

from .catalog import Catalog
from .catalog_file import CATALOG_NAME
from .folders import SHORT_HASH_LENGTH, config_hashes_on_disk, shard_files, shard_folder, shard_name
from .reading import read_catalog, read_shards, store_catalog
from .rows import CatalogRows, FeatureLocation, ShardInfo
from .sources import context_turns, is_same_source, row_key

__all__ = [
    "CATALOG_NAME",
    "SHORT_HASH_LENGTH",
    "Catalog",
    "CatalogRows",
    "FeatureLocation",
    "ShardInfo",
    "config_hashes_on_disk",
    "context_turns",
    "is_same_source",
    "read_catalog",
    "read_shards",
    "row_key",
    "shard_files",
    "shard_folder",
    "shard_name",
    "store_catalog",
]

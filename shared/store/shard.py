"""The shard: an HDF5 file with the features of one chunk of utterances of one stream.

Packed tables: `values` (frames, [layers,] width) and `valid` (frames,); `offsets` (rows + 1,) delimits the frames of
each row. Per row: `ids`, `origin` (seconds), `checksum`, `source`, `media`, `note`, and optionally `quality/NAME`;
per frame optionally `boxes` (frames, 4). The attributes hold the ShardHeader, library versions, command and time.
"""

from .entry import Entry, ShardHeader, Values, feature_checksum
from .shard_reader import FORMAT, REMEDY, SHARD_FORMAT, VERSION, ShardReader, damage_in, open_shard, verify_shard
from .shard_writer import ShardWriter

__all__ = [
    "FORMAT",
    "REMEDY",
    "SHARD_FORMAT",
    "VERSION",
    "Entry",
    "ShardHeader",
    "ShardReader",
    "ShardWriter",
    "Values",
    "damage_in",
    "feature_checksum",
    "open_shard",
    "verify_shard",
]

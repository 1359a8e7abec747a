"""The words both sides use: utterances, time, shards, the index, settings, errors."""

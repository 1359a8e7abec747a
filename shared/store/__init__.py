"""Features on disk: shards and feats.h5, written, read and verified; start with feature_store.py."""

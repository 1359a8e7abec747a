"""From media on disk to HDF5 shards: decode, encode once with frozen encoders, under Dask."""

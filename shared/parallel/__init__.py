"""Dask clusters, runs in their workers, cores and GPUs, prefetching, pauses of the collector; start with cluster.py."""

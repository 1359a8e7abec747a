"""Dask clusters, cores and GPUs, bounded prefetching, pauses of the collector; start with cluster.py."""

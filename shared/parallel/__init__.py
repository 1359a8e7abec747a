"""Dask clusters, cores and GPUs, and bounded prefetching; start with cluster.py."""

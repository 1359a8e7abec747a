"""Dask clusters, the state of a run in their workers, cores and GPUs, bounded prefetching; start with cluster.py."""

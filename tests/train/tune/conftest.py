"""Searches without a Dask worker."""

from foal.tests.train.fits_in_process import requested_tasks  # noqa: F401  (a fixture)

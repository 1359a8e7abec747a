"""Ablations without a Dask worker."""

import pytest

from foal.tests.train.fits_in_process import requested_tasks  # noqa: F401  (a fixture)


@pytest.fixture(autouse=True)
def blank_figures() -> None:
    """Draw the figures of ablations, which are few, as in a real run."""

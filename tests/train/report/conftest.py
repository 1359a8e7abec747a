"""Figures of reports are drawn."""

import pytest


@pytest.fixture(autouse=True)
def blank_figures() -> None:
    """Draw figures, whose content is tested here."""

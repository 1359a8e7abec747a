"""A single PyTorch thread, since small networks gain nothing from more, and captured messages."""

import logging
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """The log messages of foal, even after a command has configured its logger."""
    monkeypatch.setattr(logging.getLogger("foal"), "propagate", True)
    caplog.set_level(logging.INFO, logger="foal")
    return caplog

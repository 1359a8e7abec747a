"""Shared by all benchmarks: machine description, progress on stderr (stdout is for the JSON line), result checks."""

import math
import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

import torch


def machine() -> str:
    return f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}"


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def check_measured(result: Mapping[str, Any], *names: str) -> None:
    """Exit unless each of these results is a finite number above zero.

    A part that was skipped by mistake takes no time, and its zero would look like a good result.
    """
    for name in names:
        if not (math.isfinite(result[name]) and result[name] > 0):
            raise SystemExit(f"{name}: expected a number above 0, got {result[name]}; the benchmark measured nothing")


def check_equal(what: str, got: object, expected: object) -> None:
    """Exit if a count differs from the expected one."""
    if got != expected:
        raise SystemExit(f"{what}: expected {expected}, got {got}")

"""What every benchmark says of its machine, and how it tells what it is doing while stdout is kept for its one line."""

import os
import platform
import sys

import torch


def machine() -> str:
    return f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

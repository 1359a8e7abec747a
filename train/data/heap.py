"""The C library's memory, kept small where that matters more than speed."""

import ctypes
import sys

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE = 4 << 20


def keep_heap_small() -> None:
    """One heap for all threads, and large tensors given back to the system at once; glibc only, elsewhere nothing.

    By default every thread has a heap of its own, and what was freed in one is of no use to the others.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none
            mallopt(M_ARENA_MAX, 1)
            mallopt(M_MMAP_THRESHOLD, LARGE)

"""Memory use of glibc's malloc with many threads."""

import ctypes
import sys

# Parameters of glibc's mallopt.
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
MMAP_THRESHOLD_BYTES = 4 << 20


def limit_malloc_arenas() -> None:
    """Make glibc use one heap for all threads and return large tensors to the system at once; no effect elsewhere.

    By default every thread has its own heap, whose freed memory the other threads cannot use.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none
            mallopt(M_ARENA_MAX, 1)
            mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)

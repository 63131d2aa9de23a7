"""Memory of processes that read images, or run models on the CPU."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT = 128 * 2**20
_LARGEST = 32 * 2**20  # glibc takes no more


def keep_freed_memory() -> None:
    """Lets this process keep up to 128 MiB that it has freed, where the C library is glibc.

    An image is a few megabytes. glibc gives such blocks back at once, and getting them again, page by page and zeroed
    by the kernel, takes longer than it takes to read the image from a shard, and a fifth of the time of a small model.
    All threads of the process then share one arena, for as long as it lives, whoever else runs in it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    mallopt(_M_ARENA_MAX, 1)  # what one thread has freed is there for the others

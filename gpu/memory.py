"""Measure and limit the memory of this process, and measure that of the machine."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

# From glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 1024 * 1024
# From Linux's prctl.h.
_PR_SET_THP_DISABLE = 41


def resident_memory_bytes() -> int:
    """Return the memory that this process uses now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def total_memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def map_large_blocks() -> None:
    """Make glibc map every block of a megabyte or more on its own, so that a freed frame is returned at once.

    glibc does so at first, but once such a block has been freed it takes them from the heap, which can't shrink below
    what is still in use: a labelled export of 1080p took 70 MB more. Other C libraries are left as they are.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def refuse_huge_pages() -> None:
    """Make Linux give this process pages of the usual size only.

    x264 asks for huge ones, to whose size each of its frames is rounded up: an export of 1080p took 16 MB more, and not
    less CPU. Other systems, and sandboxes that refuse it, are left as they are.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)

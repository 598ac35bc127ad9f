"""Freed memory is kept for the next picture instead of going back to the system.

Networks, and arithmetic on frames, free and ask for the same large blocks again and again. glibc maps each of
them anew, and the system then fills every page with zeros: half the time of a large generator goes there, and a
part of the mesh engine's.
"""

import ctypes
import gc
import os

STOCK = "VIDSWAP_STOCK_MALLOC"
"""Environment variable: anything but nothing or 0 leaves the allocator as it is."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Names of settings in ``malloc.h``."""
SPARE, BLOCK = 32 << 20, 5 << 20
"""Bytes that ``keep_some_memory`` lets a heap keep, and up to which a block comes from it: a plane of a frame
fits, and what a face of usual size needs at a time. An encoder's larger blocks would leave holes in the heap
that the next chunk's encoder does not fill, and a long clip would take more than a short one."""


def keep_memory() -> bool:
    """Tell glibc to keep all freed memory, for the whole process; may be called again.

    Returns:
        False where it was not done: another C library, or the environment says not to.
    """
    return _tell((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1))


def keep_some_memory() -> bool:
    """Tell glibc to keep ``SPARE`` of each heap's freed memory: for arithmetic on parts of frames.

    By itself it keeps twice the largest block, and every frame asks for the rest anew.

    Returns:
        As ``keep_memory``, of which this takes back a part.
    """
    return _tell((_MMAP_THRESHOLD, BLOCK), (_TRIM_THRESHOLD, SPARE))


def _tell(*settings: tuple[int, int]) -> bool:
    if os.environ.get(STOCK, "0") not in ("", "0"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other libraries may have a mallopt that differs
        return all(library.mallopt(name, value) for name, value in settings)
    except (AttributeError, OSError, TypeError):
        return False


def give_back() -> bool:
    """Free what only rings of references keep, and return freed memory that the C library holds on to.

    Worth a call between two passes, each of which would else keep the other's largest moment; takes
    some tens of milliseconds.

    Returns:
        False where there is nothing to call.
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(trim(0))

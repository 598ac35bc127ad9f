"""Freed memory is kept for the next picture instead of going back to the system.

A network frees and asks for the same large blocks again and again. glibc maps each of them anew, and
the system then fills every page with zeros: half the time of a large generator goes there.
"""

import ctypes
import gc
import os

STOCK = "VIDSWAP_STOCK_MALLOC"
"""Environment variable: anything but nothing or 0 leaves the allocator as it is."""
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""Names of settings in ``malloc.h``."""


def keep_memory() -> bool:
    """Tell glibc to keep freed memory, for the whole process; may be called again.

    Returns:
        False where it was not done: another C library, or the environment says not to.
    """
    if os.environ.get(STOCK, "0") not in ("", "0"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other libraries may have a mallopt that differs
        return bool(library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, 2**31 - 1))
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

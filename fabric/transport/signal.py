"""Words in shared memory to set, read and sleep on: compiled (signal.c), or else in Python.

A cell is 16 bytes at an 8-byte aligned offset: a 64-bit value, and how many sleep on it. A waiter
sleeps on the word of the one it waits for, and whoever sets the word wakes it, only if somebody
sleeps: 32 chips need one wake-up each, not 32 times 31.
"""

import warnings

try:
    from ._signal import load64, publish, ring, store64, wait_all, wait_change, wake

    COMPILED = True
except ImportError:
    from .portable_signal import (
        load64,
        publish,
        ring,
        store64,
        wait_all,
        wait_change,
        wake,
    )

    COMPILED = False
    warnings.warn(
        "meshtwin.fabric.transport._signal is missing (no C compiler at install?): "
        "waiting between chips is slower",
        RuntimeWarning,
        stacklevel=2,
    )

__all__ = [
    "COMPILED",
    "load64",
    "publish",
    "ring",
    "store64",
    "wait_all",
    "wait_change",
    "wake",
]

"""Numbers in [0, 1) that are a pure function of a key: no state, one at a time or many at once."""

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1


def key_of(*values: int) -> int:
    """A key of 64 bits from a seed and what it is for; each value in 0..2**64 - 1."""
    key = 0
    for value in values:
        key = _mix(key ^ value)
    return key


def _mix(value: int) -> int:
    """The next number of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on all."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def _mix_all(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`_mix` of each; arrays of unsigned integers wrap round as the masks above do."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def uniform(key: int, packet: int, attempt: int) -> float:
    """The number of (packet, attempt) under a key."""
    return (_mix(_mix(key ^ packet) ^ attempt) >> 11) / (1 << 53)


def uniforms(key: int, packets: NDArray[np.int64], attempt: int) -> NDArray[np.float64]:
    """`uniform` for many packets at once."""
    mixed = _mix_all(packets.astype(np.uint64) ^ np.uint64(key))
    mixed = _mix_all(mixed ^ np.uint64(attempt))
    return (mixed >> np.uint64(11)).astype(np.float64) / (1 << 53)

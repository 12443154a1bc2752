"""What a benchmark of a collective measures: sizes, bandwidths and the answer to expect.

The words are those of nccl-tests (source: its doc/PERFORMANCE.md):

- `size` is the bytes of the larger of a chip's input and output: the whole tensor. It is the input
  of all_reduce, reduce_scatter, all_to_all, broadcast, reduce and scatter (on the root), and the
  output of all_gather and gather (on the root), whose inputs are size / n.
  Block floats lie in rows of one block, 16 elements, so a size is whole blocks.
- `count` is the elements of the whole tensor for all_reduce, broadcast and reduce, and those of
  one chip's part, size / n, for the others.
- algbw = size / time. busbw = algbw * factor, where the factor makes it comparable with the rate of
  one link whatever the number of chips n: see `COLLECTIVES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..chip.dtype import BLOCK, DType
from ..chip.tensor import decode, encode
from .operation import Operation

Array: TypeAlias = npt.NDArray[Any]

PERIOD = 251
"""Inputs repeat after so many elements: a prime, so that no swap of equal chunks goes unseen."""
LARGEST = 256
"""Integers up to here are exact in every float format but block floats; no result is larger."""

REDUCTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "sum": np.add,
        "prod": np.multiply,
        "max": np.maximum,
        "min": np.minimum,
        "mean": np.add,  # and divided by the number of chips
    }
)
"""Names of `op` and the numpy ufunc that each is checked against."""


@dataclass(frozen=True)
class Inputs:
    """What the chips of a group put in: small integers, so that every order of adding is exact.

    Element i of position p's input depends on i mod PERIOD and on p.
    """

    num_ranks: int
    dtype: DType
    reduction: str | None = None
    wire: DType | None = None  # None: that of the tensor

    def of(self, position: int, start: int, length: int) -> Array:
        """Elements start to start + length of what `position` puts in, as float32 or integers."""
        return _repeat(self._patterns[position], start, length)

    def reduced(self, start: int, length: int) -> Array:
        """The same elements reduced over all positions by numpy."""
        total = _repeat(self._reduced, start, length)
        if self.reduction != "mean":
            return total
        mean = decode(encode(total / np.float32(self.num_ranks), self._added_as), self._added_as)
        return decode(
            encode(mean.reshape(shape_of(length, self.dtype)), self.dtype), self.dtype
        ).reshape(length)

    @cached_property
    def _patterns(self) -> list[Array]:
        return [self._pattern(position) for position in range(self.num_ranks)]

    @cached_property
    def _reduced(self) -> Array:
        assert self.reduction is not None, "an operation that reduces"
        patterns = np.stack(self._patterns)
        return np.asarray(REDUCTIONS[self.reduction].reduce(patterns, dtype=patterns.dtype))

    def _pattern(self, position: int) -> Array:
        i = np.arange(PERIOD)
        if self.reduction == "prod":
            doubles = self._largest.bit_length() - 1  # so many chips at most put in a factor of 2
            values = 1 + (i >> position & 1 if position < doubles else 0 * i)
        else:
            share = self._largest if self.reduction is None else self._largest // self.num_ranks
            values = (i + 89 * position) % PERIOD % (share + 1)
        return values.astype(np.float32 if self.dtype.is_float else self.dtype.numpy)

    @property
    def _added_as(self) -> DType:
        return DType.BFLOAT16 if self.dtype.block else self.dtype

    @property
    def _largest(self) -> int:
        blocks = [kind.block for kind in (self.dtype, self.wire) if kind is not None and kind.block]
        if blocks:
            return (1 << min(block.magnitude_bits for block in blocks)) - 1
        return LARGEST if self.dtype.is_float else min(LARGEST, np.iinfo(self.dtype.numpy).max)


def _repeat(pattern: Array, start: int, length: int) -> Array:
    return np.resize(np.roll(pattern, -(start % PERIOD)), length)


Expected: TypeAlias = Callable[[Inputs, int, int, int], Array | None]


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective as the benchmark sees it.

    Attributes:
        bus_factor: of the number of chips: busbw = algbw * factor.
        expected: what a position ends with, from (inputs, position, root, count of the whole
            tensor); None where it ends with nothing.
    """

    operation: Operation
    bus_factor: Callable[[int], float]
    expected: Expected

    @property
    def has_dim(self) -> bool:
        """Whether it is called with a tensor dim, along which parts lie."""
        return self.operation.cuts or self.operation.joins

    @property
    def puts_in_part(self) -> bool:
        """Whether a chip's input is its part, not the whole tensor."""
        return self.operation.joins and not self.operation.cuts


def _most(n: int) -> float:
    return (n - 1) / n


def _all(n: int) -> float:
    return 1.0


def _reduced(x: Inputs, position: int, root: int, count: int) -> Array:
    return x.reduced(0, count)


def _all_parts(x: Inputs, position: int, root: int, count: int) -> Array:
    return np.concatenate([x.of(p, 0, count // x.num_ranks) for p in range(x.num_ranks)])


def _exchanged(x: Inputs, position: int, root: int, count: int) -> Array:
    part = count // x.num_ranks
    return np.concatenate([x.of(p, position * part, part) for p in range(x.num_ranks)])


def _reduced_part(x: Inputs, position: int, root: int, count: int) -> Array:
    part = count // x.num_ranks
    return x.reduced(position * part, part)


def _whole_of_root(x: Inputs, position: int, root: int, count: int) -> Array:
    return x.of(root, 0, count)


def _part_of_root(x: Inputs, position: int, root: int, count: int) -> Array:
    part = count // x.num_ranks
    return x.of(root, position * part, part)


def _on_root(expected: Expected) -> Expected:
    return lambda x, position, root, count: (
        expected(x, position, root, count) if position == root else None
    )


COLLECTIVES: Mapping[str, Collective] = MappingProxyType(
    {
        collective.operation.label: collective
        for collective in (
            Collective(Operation.ALL_REDUCE, lambda n: 2 * (n - 1) / n, _reduced),
            Collective(Operation.REDUCE_SCATTER, _most, _reduced_part),
            Collective(Operation.ALL_GATHER, _most, _all_parts),
            Collective(Operation.ALL_TO_ALL, _most, _exchanged),
            Collective(Operation.BROADCAST, _all, _whole_of_root),
            Collective(Operation.REDUCE, _all, _on_root(_reduced)),
            Collective(Operation.GATHER, _most, _on_root(_all_parts)),
            Collective(Operation.SCATTER, _most, _part_of_root),
        )
    }
)
"""Every collective that can be measured, by the name of its method of a chip."""


def sizes(smallest: int, largest: int, factor: int) -> list[int]:
    """Bytes from `smallest` up to `largest`, each `factor` times the one before.

    Raises:
        ValueError: the bounds or the factor leave no sizes; says what would.
    """
    if smallest < 1:
        raise ValueError(f"the smallest size (={smallest}) must be 1 byte or more")
    if smallest > largest:
        raise ValueError(
            f"the smallest size (={smallest}) must not be over the largest (={largest})"
        )
    if factor < 2:
        raise ValueError(f"factor (={factor}) must be 2 or more")
    found = [smallest]
    while found[-1] * factor <= largest:
        found.append(found[-1] * factor)
    return found


def whole_count(size: int, num_ranks: int, dtype: DType) -> int:
    """Elements of the whole tensor at a size in bytes: at most that, in equal parts of at least
    one element (or block) a chip."""
    unit = BLOCK if dtype.block else 1
    return max(1, size // dtype.row_bytes(unit) // num_ranks) * num_ranks * unit


def shape_of(count: int, dtype: DType) -> tuple[int, ...]:
    """The shape of a tensor of so many elements: block floats are cut between rows."""
    return (count // BLOCK, BLOCK) if dtype.block else (count,)


def default_iterations(size: int, num_ranks: int) -> int:
    """How often a loop calls when nobody says: 20 times as nccl-tests does, fewer (3 at least)
    where the chips together would put in more than 1 GiB, as one host does the work of all."""
    return min(20, max(3, (1 << 30) // (size * num_ranks)))


@dataclass(frozen=True, slots=True)
class Row:
    """One measured size. Wall times are of this machine, simulated ones of the emulated box.

    Attributes:
        size: bytes of the whole tensor (see the module).
        count: elements, as nccl-tests counts them.
        redop: the reduction, or "none".
        root: its position in the group, -1 when the operation has none.
        wall_us: median over the repetitions of the slowest chip's mean time of a call.
        wall_min_us: the fastest repetition's.
        sim_us: from a barrier to the end of one call, on the slowest chip.
        num_wrong: elements on all chips that are not what numpy says; None when not checked.
    """

    collective: str
    num_ranks: int
    size: int
    count: int
    dtype: str
    redop: str
    root: int
    iterations: int
    wall_us: float
    wall_min_us: float
    sim_us: float
    num_wrong: int | None

    @property
    def wall_algbw(self) -> float:
        """GB/s (10^9 bytes a second) of wall time."""
        return gb_per_s(self.size, self.wall_us)

    @property
    def wall_busbw(self) -> float:
        """GB/s of wall time, times the factor."""
        return self.wall_algbw * self.bus_factor

    @property
    def sim_algbw(self) -> float:
        """GB/s of simulated time."""
        return gb_per_s(self.size, self.sim_us)

    @property
    def sim_busbw(self) -> float:
        """GB/s of simulated time, times the factor: compare it with the rate of a link."""
        return self.sim_algbw * self.bus_factor

    @property
    def bus_factor(self) -> float:
        """Bus bandwidth over algorithm bandwidth."""
        return COLLECTIVES[self.collective].bus_factor(self.num_ranks)


def gb_per_s(size: int, time_us: float) -> float:
    """Bytes and microseconds to 10^9 bytes a second; 0 when no time passed."""
    return size / time_us / 1e3 if time_us > 0 else 0.0

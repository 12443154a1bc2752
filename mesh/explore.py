"""Running a program under many schedules: the same result under each, or the line that is at fault.

Chips are threads of this process and the fabric is an explored one: a seed decides who goes next
and which message arrives next, so a failure comes back with its seed. No Ray, no processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from ..collectives.communicator import Communicator
from ..fabric.errors import FabricHang, PeerAborted
from ..fabric.topology import Box, load_box
from ..fabric.transport.exploration import Ending, Exploration
from ..fabric.transport.explored import ExploredTransport, open_explored
from .difference import difference
from .errors import ExplorationFailure
from .program import MeshChip

Program = Callable[..., Any]
NO_LIMIT_S = 1e9  # an exploration knows a standstill when it sees one
NUM_EVENTS = 20  # shown before a failure


@dataclass(frozen=True)
class ExplorationReport:
    """What held under every schedule.

    Attributes:
        seeds: the schedules that were run.
        results: of the program, by rank; the same under each.
        sim_ends_ps: the chips' simulated times at the end, by rank; the same too.
        num_schedules: how many of the schedules were different ones.
        num_orders: in how many orders messages were taken by receives that take from any chip.
        num_steps: of all schedules together.
    """

    seeds: tuple[int, ...]
    results: tuple[Any, ...]
    sim_ends_ps: tuple[int, ...]
    num_schedules: int
    num_orders: int
    num_steps: int


def explore(
    program: Program,
    box: str | Box = "loudbox",
    args_of_rank: Callable[[int], tuple[Any, ...]] = lambda rank: (),
    seeds: Sequence[int] = range(200),
    check: Callable[[Sequence[Any]], object] | None = None,
) -> ExplorationReport:
    """Run `program(chip, *args_of_rank(rank))` on all chips, once under the schedule of each seed.

    Results (tensors and arrays to the bit) and simulated times must be those of the first seed.

    Args:
        check: called with the results by rank, of each seed; raises or returns False when they are
            wrong.
    Raises:
        ExplorationFailure: a seed came to another result, hung or raised; see its fields. The
            error that the program or `check` raised is its cause.
    Example: a gather that stores messages in the order of arrival fails within a few seeds, and
        the failure names the line that receives them.
    """
    where = load_box(box) if isinstance(box, str) else box
    if not seeds:
        raise ValueError(f"seeds (={seeds}) must hold at least one seed")
    good: _Run | None = None
    digests, orders, num_steps = set(), set(), 0
    for seed in seeds:
        run = _Run(where, seed, program, args_of_rank)
        run.judge(good, check)
        good = good or run
        digests.add(run.exploration.digest())
        orders.add(run.order())
        num_steps += run.exploration.log[-1].step
    assert good is not None, "there is a first seed"
    return ExplorationReport(
        tuple(seeds), good.results, good.sim_ends_ps, len(digests), len(orders), num_steps
    )


class _Run:
    """A program's run under one schedule."""

    def __init__(
        self,
        box: Box,
        seed: int,
        program: Program,
        args_of_rank: Callable[[int], tuple[Any, ...]],
    ) -> None:
        self.seed = seed
        self.exploration = Exploration(box.num_chips, seed, box)
        ends = open_explored(self.exploration)
        chips = [_open_chip(box, end) for end in ends]
        self.endings = self.exploration.run(
            [
                partial(_guarded, end, program, chip, args_of_rank(chip.rank))
                for end, chip in zip(ends, chips, strict=True)
            ]
        )
        self.results = tuple(ending.result for ending in self.endings)
        self.sim_ends_ps = tuple(chip.clock.now_ps for chip in chips)

    def judge(self, good: "_Run | None", check: Callable[[Sequence[Any]], object] | None) -> None:
        """Raise ExplorationFailure unless this run is as it should be."""
        failed = [chip for chip, ending in enumerate(self.endings) if ending.error is not None]
        if failed:
            first = min(failed, key=lambda chip: _blame(self.endings[chip]))
            error = self.endings[first].error
            what = f"{type(error).__name__}: {error}"
            raise self._failure(first, what, self.endings[first].step, good) from error
        if check is not None:
            try:
                is_right = check(list(self.results)) is not False
            except Exception as error:
                what = f"the check of the results raised {type(error).__name__}: {error}"
                raise self._failure(None, what, None, good) from error
            if not is_right:
                raise self._failure(None, "the check of the results failed", None, good)
        if good is not None:
            self._compare(good)

    def order(self) -> tuple[tuple[int, int], ...]:
        """Who took messages from whom, where it could have been another."""
        taken = (r for r in self.exploration.receipts if r.any_of)
        return tuple(sorted(((r.chip, r.src) for r in taken), key=lambda pair: pair[0]))

    def _compare(self, good: "_Run") -> None:
        for chip, result in enumerate(self.results):
            what = difference(good.results[chip], result)
            ends = good.sim_ends_ps[chip], self.sim_ends_ps[chip]
            if what is None and ends[0] != ends[1]:
                what = f"the program ended at {ends[1]} ps (simulated), not {ends[0]} ps"
            if what is not None:
                raise self._failure(chip, f"{what} (as under seed {good.seed})", None, good)

    def _failure(
        self, chip: int | None, what: str, step: int | None, good: "_Run | None"
    ) -> ExplorationFailure:
        culprit, seeds = "", [self.seed]
        if good is not None:
            culprit, culprit_step = self._culprit(good)
            step = culprit_step if step is None else step
            seeds = [good.seed, self.seed]
        log = self.exploration.log
        events = [e for e in log if step is None or e.step <= step][-NUM_EVENTS:]
        return ExplorationFailure(
            self.seed,
            chip,
            what,
            culprit,
            f"explore(program, seeds={seeds})",
            tuple(f"step {step}, chip {chip}: {what}" for step, chip, what in events),
        )

    def _culprit(self, good: "_Run") -> tuple[str, int | None]:
        """The first receive that took another chip's message than in the good run, and its step."""
        usual: dict[int, list[int]] = {}
        for receipt in good.exploration.receipts:
            usual.setdefault(receipt.chip, []).append(receipt.src)
        num_taken: dict[int, int] = {}
        for receipt in self.exploration.receipts:
            count = num_taken[receipt.chip] = num_taken.get(receipt.chip, 0) + 1
            srcs = usual.get(receipt.chip, [])
            if count <= len(srcs) and receipt.src != srcs[count - 1]:
                return (
                    f"chip {receipt.chip} took a message of chip {receipt.src} in {receipt.where}, "
                    f"its receive number {count}; under seed {good.seed} that was one of chip "
                    f"{srcs[count - 1]}"
                ), receipt.step
        return (
            f"every receive took its message from the same chip as under seed {good.seed}; what "
            "else changes from run to run (random numbers, time, variables that chips share)?"
        ), None


def _blame(ending: Ending) -> tuple[bool, bool, int]:
    """The one to blame comes first: not who was only woken, a chip of the proof, the earliest."""
    error = ending.error
    is_aside = isinstance(error, FabricHang) and error.chip not in [w[0] for w in error.waits]
    return isinstance(error, PeerAborted), is_aside, ending.step


def _open_chip(box: Box, end: ExploredTransport) -> MeshChip:
    chip = MeshChip.open(box.product, rank=end.rank)
    chip.box = box
    chip.communicator = Communicator(box, end.rank, cast("Any", end), NO_LIMIT_S)
    return chip


def _guarded(
    end: ExploredTransport, program: Program, chip: MeshChip, args: tuple[Any, ...]
) -> Any:
    """The program's result; an error wakes the other chips."""
    try:
        return program(chip, *args)
    except BaseException:
        end.abort(0)
        raise

"""Two looks from outside: who really waits, who holds up the others, and what is proved."""

import itertools
from collections.abc import Callable

from meshtwin.fabric.flight_layout import FLIGHT_BYTES
from meshtwin.fabric.flight_recorder import FlightRecorder
from meshtwin.fabric.standstill import GONE_ON, Sight, compare, is_settled, look_at
from meshtwin.fabric.waits import Activity


class Chips:
    """Chips of one mesh, each in a call, all of them running."""

    def __init__(self, num_chips: int) -> None:
        clock = itertools.count().__next__
        self.buffers = [memoryview(bytearray(FLIGHT_BYTES)) for _ in range(num_chips)]
        self.recorders = [
            FlightRecorder(buffer, clock, 0, chip) for chip, buffer in enumerate(self.buffers)
        ]
        for recorder in self.recorders:
            recorder.set_activity(Activity.RUNNING)
            recorder.enter("barrier() at train.py:7", 0)

    def wait(self, **awaited: tuple[int, ...]) -> None:
        """Chips note that they wait: c0=(1, 2) is chip 0 for chips 1 and 2."""
        for name, others in awaited.items():
            self.recorders[int(name[1:])].wait(others)

    def seen(self, meanwhile: Callable[[], None]) -> Sight:
        """Two looks, and what happens between them."""
        first = {chip: look_at(buffer) for chip, buffer in enumerate(self.buffers)}
        meanwhile()
        return compare(first, {chip: look_at(buffer) for chip, buffer in enumerate(self.buffers)})


def test_a_chip_that_works_holds_up_those_that_wait_for_it() -> None:
    chips = Chips(3)
    chips.wait(c0=(2,), c1=(0, 2))
    sight = chips.seen(lambda: chips.wait(c0=(2,), c1=(0, 2)))
    assert sight.holders == (2,)
    assert sight.verdict is None
    assert [sight.chips[chip].status.activity.name for chip in range(3)] == [
        "WAITING", "WAITING", "RUNNING",
    ]  # fmt: skip


def test_a_cycle_of_waits_that_lasts_is_proved() -> None:
    chips = Chips(2)
    chips.wait(c0=(1,), c1=(0,))
    sight = chips.seen(lambda: chips.wait(c0=(1,), c1=(0,)))
    assert sight.verdict is not None
    edges, why = sight.verdict
    assert edges[0] == (0, (1,), "barrier() at train.py:7")
    assert why == "a cycle of waits: chip 0 -> 1 -> 0"
    assert sight.holders == ()


def test_a_chip_that_ended_its_program_is_to_blame() -> None:
    chips = Chips(2)
    chips.recorders[1].set_activity(Activity.ENDED)
    chips.wait(c0=(1,))
    sight = chips.seen(lambda: chips.wait(c0=(1,)))
    assert sight.holders == (1,)
    assert sight.verdict is not None
    assert sight.verdict[1] == "chip 1 has ended its program"


def test_a_wait_that_is_not_noted_again_is_over() -> None:
    chips = Chips(2)
    chips.wait(c0=(1,), c1=(0,))
    sight = chips.seen(lambda: chips.wait(c1=(0,)))
    assert sight.verdict is None
    status = sight.chips[0].status
    assert (status.activity, status.what) == (Activity.RUNNING, GONE_ON)
    assert sight.holders == (0,)


def test_a_chip_that_waits_in_another_call_than_before_has_moved() -> None:
    chips = Chips(2)

    def meanwhile() -> None:
        chips.recorders[0].resume()
        chips.recorders[0].enter("barrier() at train.py:8", 1)
        chips.wait(c0=(1,), c1=(0,))

    chips.wait(c0=(1,), c1=(0,))
    sight = chips.seen(meanwhile)
    assert sight.verdict is None
    assert sight.chips[0].status.activity is Activity.RUNNING


def test_a_chip_that_is_not_seen_may_hold_up_others() -> None:
    chips = Chips(1)
    chips.wait(c0=(5,))
    sight = chips.seen(lambda: chips.wait(c0=(5,)))
    assert sight.holders == (5,)
    assert sight.verdict is None


def test_looks_go_on_until_every_wait_was_noted_again() -> None:
    chips = Chips(2)
    chips.wait(c0=(1,))
    first = {chip: look_at(buffer) for chip, buffer in enumerate(chips.buffers)}
    assert not is_settled(first, first)
    chips.wait(c0=(1,))
    assert is_settled(first, {chip: look_at(buffer) for chip, buffer in enumerate(chips.buffers)})

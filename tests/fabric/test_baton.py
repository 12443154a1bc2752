"""Threads take turns, as they are told."""

import os
from functools import partial

import pytest

from meshtwin.fabric.transport.baton import Baton


def test_threads_go_on_in_the_order_that_is_chosen() -> None:
    order = iter([2, 0, 0, 1, 2, 1, None])
    seen: list[int] = []
    baton = Baton(lambda: next(order))

    def work(me: int) -> None:
        seen.append(me)
        baton.offer(me)
        seen.append(me)

    baton.run([partial(work, me) for me in range(3)])
    assert seen == [2, 0, 0, 1, 2, 1]


def test_an_error_of_the_choice_ends_the_run() -> None:
    def choose() -> int | None:
        raise ArithmeticError("planted")

    with pytest.raises(ArithmeticError, match="planted"):
        Baton(choose).run([lambda: None])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_only_the_threads_of_a_baton_stay_on_one_core() -> None:
    before = os.sched_getaffinity(0)
    cores: list[set[int]] = []
    order = iter([0, None])
    Baton(lambda: next(order)).run([lambda: cores.append(os.sched_getaffinity(0))])
    assert len(cores[0]) == 1
    assert os.sched_getaffinity(0) == before

"""Fixtures of the mesh floor: driver scripts that are ended after the test, whatever it did."""

from collections.abc import Callable, Iterator

import pytest

from .driver import Driver


@pytest.fixture
def start() -> Iterator[Callable[[str | list[str]], Driver]]:
    """Starts a script, or a command, in a process of its own."""
    drivers: list[Driver] = []

    def make(script: str | list[str]) -> Driver:
        drivers.append(Driver(script))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.kill()

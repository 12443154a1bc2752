"""Words in shared memory: the compiled and the Python ones do the same."""

import importlib
import mmap
import sys
import threading
import time
from typing import Any

import pytest

from meshtwin.fabric.transport import portable_signal, signal

implementations = [portable_signal]
if signal.COMPILED:
    from meshtwin.fabric.transport import _signal

    implementations.append(_signal)
each = pytest.mark.parametrize("words", implementations, ids=lambda m: m.__name__.split(".")[-1])


@pytest.fixture
def page() -> mmap.mmap:
    return mmap.mmap(-1, 4096)


def after(seconds: float, action: Any, *args: Any) -> threading.Thread:
    def act() -> None:
        time.sleep(seconds)
        action(*args)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@each
def test_a_cell_holds_64_bits(words: Any, page: mmap.mmap) -> None:
    words.store64(page, 64, 2**64 - 1)
    assert words.load64(page, 64) == 2**64 - 1
    words.publish(page, 64, 7)
    words.ring(page, 64)
    assert words.load64(page, 64) == 8
    assert words.load64(page, 128) == 0


@each
def test_a_change_ends_the_wait_for_it(words: Any, page: mmap.mmap) -> None:
    assert words.wait_change(page, 0, 1, 0.0) is True  # it differs already
    thread = after(0.05, words.ring, page, 0)
    assert words.wait_change(page, 0, 0, 30.0) is True
    thread.join()
    assert words.load64(page, 0) == 1


@each
def test_waiting_for_a_change_has_a_limit(words: Any, page: mmap.mmap) -> None:
    started = time.monotonic()
    assert words.wait_change(page, 0, 0, 0.05) is False
    assert time.monotonic() - started >= 0.05


@each
def test_waiting_for_all_says_who_is_missing(words: Any, page: mmap.mmap) -> None:
    pages = tuple(mmap.mmap(-1, 4096) for _ in range(3))
    for index in (0, 1):
        words.store64(pages[index], 64, 5)
    assert words.wait_all(pages[:2], 64, 5, page, 0, 1, 0.0) == -1
    assert words.wait_all(pages, 64, 5, page, 0, 1, 0.02) == 2
    assert words.wait_all(pages, 64, 6, page, 0, 1, 0.02) == 0
    assert words.wait_all((), 64, 6, page, 0, 1, 0.0) == -1


@each
def test_waiting_for_all_ends_when_the_last_publishes(words: Any, page: mmap.mmap) -> None:
    pages = tuple(mmap.mmap(-1, 4096) for _ in range(2))
    threads = [after(0.02 * (i + 1), words.publish, pages[i], 64, 1) for i in range(2)]
    assert words.wait_all(pages, 64, 1, page, 0, 1, 30.0) == -1
    for thread in threads:
        thread.join()


@each
def test_waiting_for_all_ends_at_the_abort_value(words: Any, page: mmap.mmap) -> None:
    other = mmap.mmap(-1, 4096)

    def abort() -> None:
        words.store64(page, 0, 9)
        words.wake(other, 64)

    thread = after(0.05, abort)
    assert words.wait_all((other,), 64, 1, page, 0, 9, 30.0) == -2
    thread.join()


@each
def test_the_global_lock_is_free_while_waiting(words: Any, page: mmap.mmap) -> None:
    thread = threading.Thread(target=words.wait_change, args=(page, 0, 0, 30.0))
    thread.start()
    time.sleep(0.02)
    words.ring(page, 0)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.skipif(not signal.COMPILED, reason="no compiled words here")
def test_a_cell_outside_the_buffer_or_askew_is_refused(page: mmap.mmap) -> None:
    for offset in (-8, 4, 4088, 4096, 1 << 40):
        with pytest.raises(ValueError, match="offset"):
            signal.load64(page, offset)
    with pytest.raises(BufferError):
        signal.store64(bytes(64), 0, 1)
    with pytest.raises(TypeError, match="expected 4 arguments"):
        signal.wait_change(page, 0)  # type: ignore[call-arg]
    with pytest.raises(OverflowError):
        signal.store64(page, 0, -1)


def test_a_missing_extension_warns_once_and_works(
    monkeypatch: pytest.MonkeyPatch, page: mmap.mmap
) -> None:
    name = "meshtwin.fabric.transport.signal"
    monkeypatch.setitem(sys.modules, "meshtwin.fabric.transport._signal", None)
    monkeypatch.delattr("meshtwin.fabric.transport._signal", raising=False)
    monkeypatch.delitem(sys.modules, name)
    package = sys.modules["meshtwin.fabric.transport"]
    monkeypatch.setattr(package, "signal", signal)  # put back at the end
    with pytest.warns(RuntimeWarning, match="_signal is missing") as caught:
        again = importlib.import_module(name)
    assert len(caught) == 1 and not again.COMPILED
    again.publish(page, 0, 3)
    assert again.load64(page, 0) == 3

"""Runs one task on every chip of a small mesh: in threads, or in real processes."""

import contextlib
import multiprocessing
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from meshtwin.fabric.transport import portable_signal, signal
from meshtwin.fabric.transport.base import Address, Transport

LIMIT_S = 60.0


class Meeting(Protocol):
    """A barrier of the chips, of threads or of processes."""

    def wait(self, timeout: float | None = None) -> int: ...
    def abort(self) -> None: ...


@dataclass(frozen=True)
class Site:
    """Where a task runs: a chip, its transport, and a way to meet the others."""

    rank: int
    num_chips: int
    transport: Any
    meeting: Meeting

    def meet(self) -> None:
        self.meeting.wait(LIMIT_S)

    @property
    def peers(self) -> list[int]:
        return [rank for rank in range(self.num_chips) if rank != self.rank]


Opener = Callable[[int, int], Transport]
Task = Callable[[Site], Any]


@dataclass(frozen=True)
class Died:
    """What a chip answers whose process ended without an answer."""

    exit_code: int | None


def run_in_threads(task: Task, opener: Opener, num_chips: int) -> list[Any]:
    """The answer of each chip, all in this process."""
    transports = [opener(rank, num_chips) for rank in range(num_chips)]
    meeting = threading.Barrier(num_chips)
    results: list[Any] = [None] * num_chips
    try:
        addresses = [transport.address for transport in transports]
        for transport in transports:
            transport.connect(addresses)

        def work(rank: int) -> None:
            results[rank] = _answer(task, Site(rank, num_chips, transports[rank], meeting))

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(num_chips)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
    finally:
        for transport in transports:
            transport.close()
    return _checked(results)


def run_in_processes(
    task: Task, opener: Opener, num_chips: int, portable: bool = False
) -> list[Any]:
    """The answer of each chip, each in a process of its own; `portable`: without signal.c."""
    context = multiprocessing.get_context("spawn")
    meeting = context.Barrier(num_chips)
    pipes = [context.Pipe() for _ in range(num_chips)]
    processes = [
        context.Process(
            target=_child, args=(task, opener, rank, num_chips, pipes[rank][1], meeting, portable)
        )
        for rank in range(num_chips)
    ]
    try:
        for process, (_, child_end) in zip(processes, pipes, strict=True):
            process.start()
            child_end.close()
        addresses = [_receive(pipe, processes[r]) for r, (pipe, _) in enumerate(pipes)]
        for pipe, _ in pipes:
            pipe.send(addresses)
        return _checked([_receive(pipe, processes[r]) for r, (pipe, _) in enumerate(pipes)])
    finally:
        for pipe, _ in pipes:
            pipe.close()
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


def use_portable_signal() -> None:
    """Take the Python words instead of the compiled ones, in this process."""
    for name in signal.__all__:
        if name != "COMPILED":
            setattr(signal, name, getattr(portable_signal, name))


def _child(
    task: Task,
    opener: Opener,
    rank: int,
    num_chips: int,
    pipe: Connection,
    meeting: Meeting,
    portable: bool,
) -> None:
    if portable:
        use_portable_signal()
    transport = opener(rank, num_chips)
    pipe.send(transport.address)
    addresses: Sequence[Address] = pipe.recv()
    transport.connect(addresses)
    pipe.send(_answer(task, Site(rank, num_chips, transport, meeting)))
    with contextlib.suppress(EOFError, OSError):
        pipe.poll(LIMIT_S)  # stay until the parent hangs up: others may still look at our memory
    transport.close()


@dataclass(frozen=True)
class _Failed:
    report: str


def _answer(task: Task, site: Site) -> Any:
    try:
        return task(site)
    except BaseException:
        site.meeting.abort()
        return _Failed(f"chip {site.rank}:\n{traceback.format_exc()}")


def _receive(pipe: Connection, process: Any) -> Any:
    if not pipe.poll(LIMIT_S):
        return _Failed("no answer")
    try:
        return pipe.recv()
    except EOFError:
        process.join(5)
        return Died(process.exitcode)


def _checked(results: list[Any]) -> list[Any]:
    failures = [result.report for result in results if isinstance(result, _Failed)]
    assert not failures, "\n".join(failures)
    return results

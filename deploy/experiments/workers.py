"""Who evaluates the points: this process, or the workers of a Ray."""

from collections.abc import Generator, Sequence
from typing import Any

from .chunks import Chunks
from .outcome import Outcome, evaluate_chunk, failed
from .point_function import PointFunction

AHEAD = 2
"""Chunks a worker has: the one it works on, and the next."""


def on_this_process(
    function: PointFunction, points: Sequence[dict[str, Any]]
) -> Generator[list[Outcome], None, None]:
    """Evaluate points here, chunk after chunk."""
    chunks = Chunks(points, num_workers=1)
    while chunks:
        outcomes = evaluate_chunk(function, chunks.take())
        chunks.note(len(outcomes), sum(outcome.wall_s for outcome in outcomes))
        yield outcomes


def on_ray(
    function: PointFunction, points: Sequence[dict[str, Any]], address: str | None
) -> Generator[list[Outcome], None, None]:
    """Evaluate points in tasks of one CPU each, and yield chunks as they are done, in any order.

    When a chunk's process dies, its points are tried again one by one; one whose process dies
    then is failed.

    Args:
        address: of a cluster ("auto", "host:port"); None: the Ray of this process, or a local one.
    Raises:
        LaunchError: no Ray there.
    """
    from ...mesh.session import open_session

    session = open_session("a sweep", address, num_chips=1)
    try:
        yield from _tasks(function, points)
    finally:
        session.close()


def _tasks(
    function: PointFunction, points: Sequence[dict[str, Any]]
) -> Generator[list[Outcome], None, None]:
    import ray

    num_workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    task: Any = ray.remote(num_cpus=1, max_retries=0)(evaluate_chunk)
    shared = ray.put(function)
    chunks = Chunks(points, num_workers)
    again: list[list[dict[str, Any]]] = []
    running: dict[Any, list[dict[str, Any]]] = {}
    try:
        while chunks or again or running:
            while (chunks or again) and len(running) < AHEAD * num_workers:
                chunk = again.pop() if again else chunks.take()
                running[task.remote(shared, chunk)] = chunk
            (done,), _ = ray.wait(list(running), num_returns=1)
            chunk = running.pop(done)
            try:
                outcomes = ray.get(done)
            except ray.exceptions.RayError as error:
                if len(chunk) > 1:
                    again += [[point] for point in chunk]
                    continue
                text = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                outcomes = [failed(chunk[0], text)]
            chunks.note(len(outcomes), sum(outcome.wall_s for outcome in outcomes))
            yield outcomes
    finally:
        for ref in running:
            ray.cancel(ref, force=True)

"""Reporting how far a long piece of work has come, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

Report = Callable[[str, int, int], None]
"""Called with a stage's name, the bytes done and the bytes in all (0: not known)."""


def silent(stage: str, done_bytes: int, total_bytes: int) -> None:
    """Report to nobody."""


@contextmanager
def bars() -> Iterator[Report]:
    """A bar a stage on stderr; where that is no terminal, one line a stage at its end."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done_bytes: int, total_bytes: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            progress.update(tasks[stage], completed=done_bytes, total=total_bytes or None)

        yield report

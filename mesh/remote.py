"""Waiting for the chips' actors, and making errors of theirs our own."""

from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from .errors import ChipDown


def collect(refs: list[Any], timeout_s: float | None = None) -> list[Any]:
    """The answers of all chips, by rank.

    Raises:
        ChipDown: a chip's process is gone.
        TimeoutError: not all answered within `timeout_s`.
        whatever a chip raised, by its own type.
    """
    try:
        return list(ray.get(refs, timeout=timeout_s))
    except RayTaskError as error:
        ray.wait(refs, num_returns=len(refs), timeout=timeout_s)
        for ref in refs:  # errors that nobody reads, Ray prints
            with suppress(RayTaskError, RayActorError, GetTimeoutError):
                ray.get(ref, timeout=0)
        raise _cause(error) from None
    except RayActorError as error:
        raise ChipDown(_dead_rank(refs), str(error).strip().splitlines()[0]) from error
    except GetTimeoutError as error:
        raise TimeoutError(f"not all chips answered within {timeout_s} s") from error


def _cause(error: RayTaskError) -> BaseException:
    """The exception that the actor's method raised, with the actor's traceback as a note."""
    cause = error.cause
    if not isinstance(cause, BaseException):
        return error
    cause.add_note(str(error))
    return cause


def _dead_rank(refs: list[Any]) -> int:
    """The first chip whose answer is that its actor is dead."""
    for rank, ref in enumerate(refs):
        try:
            ray.get(ref, timeout=0)
        except RayActorError:
            return rank
        except (RayTaskError, GetTimeoutError):
            continue
    return -1

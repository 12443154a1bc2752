"""Who looks on while a chip computes: a hook that is None unless somebody compares or traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, final

if TYPE_CHECKING:
    from .state import Op, Params
    from .tensor import Tensor


class Watcher(Protocol):
    """Told of everything that a chip computes, right after it happened and before anything else."""

    def ran(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params, outputs: tuple[Tensor, ...]
    ) -> None:
        """An op ran. Without outputs it wrote into its first input."""

    def communicated(self, request: Any, x: Tensor, result: Tensor | None) -> None:
        """A collective ended on this chip: its request (collectives.request), `x` in, result out.

        `result` is None where the chip gets nothing.
        """


@final
class Scope:
    """A stretch of a program with a name: `with chip.scope("layer 7"):`. Scopes nest."""

    __slots__ = ("label", "labels")

    def __init__(self, labels: list[str], label: str) -> None:
        self.labels, self.label = labels, label

    def __enter__(self) -> None:
        self.labels.append(self.label)

    def __exit__(self, *error: object) -> None:
        self.labels.pop()

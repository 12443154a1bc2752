"""A run beside a reference run of the same program on the same chips: op by op, in their order."""

from __future__ import annotations

from ..chip.figures import figures
from ..chip.state import Op, Params
from ..chip.tensor import Tensor
from ..collectives.request import Request
from .comparison import InputRow, Mismatch
from .program import MeshChip
from .tape import Entry, TapeReader, digest_unless_made
from .watching import Watching


class PairedWatcher(Watching):
    """Compares every op with the tape's; stops at the first that is not the same op."""

    def __init__(self, chip: MeshChip, tape: TapeReader) -> None:
        super().__init__(chip)
        self.tape = tape
        self.mismatch: Mismatch | None = None

    def ran(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params, outputs: tuple[Tensor, ...]
    ) -> None:
        """Compare an op's outputs."""
        self._compare(op.name, inputs, outputs or inputs[:1], is_collective=False)

    def communicated(self, request: Request, x: Tensor, result: Tensor | None) -> None:
        """Compare what a collective gave this chip."""
        outputs = () if result is None else (result,)
        self._compare(request.operation.label, (x,), outputs, is_collective=True)

    def ended(self) -> None:
        """The program is over: the reference must be, too."""
        rest = self.tape.entries[self.ordinal + 1 :]
        if rest and self.mismatch is None:
            self._differs("it ended", _words(rest[0]))

    def _compare(
        self, op: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], is_collective: bool
    ) -> None:
        self.next_op()
        if self.mismatch is not None:
            return
        shapes = tuple(tensor.shape for tensor in outputs)
        found = f"{op} -> {_shapes(shapes)} at {self.line}"
        if self.ordinal >= len(self.tape.entries):
            self._differs(found, "it ended")
            return
        entry = self.tape.entries[self.ordinal]
        if entry.op != op or tuple(out.shape for out in entry.outputs) != shapes:
            self._differs(found, _words(entry))
            return
        seen = self._seen(inputs, entry)
        for index, (tensor, stored) in enumerate(zip(outputs, entry.outputs, strict=True)):
            result = figures(tensor.to_numpy(), self.tape.read(stored), tensor.dtype)
            self.note(op, tensor, result, seen, index, is_collective)

    def _seen(self, inputs: tuple[Tensor, ...], entry: Entry) -> tuple[InputRow, ...]:
        """What is known of an op's inputs: figures, or whether it is the reference's."""
        rows = []
        for tensor, row, theirs in zip(inputs, self.inputs_of(inputs), entry.digests, strict=False):
            own = digest_unless_made(self.judged, tensor)
            rows.append(InputRow(row.figures, _sameness(own, theirs)))
        return tuple(rows)

    def _differs(self, found: str, expected: str) -> None:
        self.mismatch = Mismatch(max(self.ordinal, 0), self.chip.rank, found, expected)


def _sameness(own: str | None, theirs: str | None) -> str:
    """Is an input from outside, a weight, the reference's? Formats that differ say nothing."""
    if own is None or theirs is None or own.split()[0] != theirs.split()[0]:
        return ""
    return "the reference's, to the bit" if own == theirs else "not the reference's"


def _words(entry: Entry) -> str:
    shapes = _shapes(tuple(out.shape for out in entry.outputs))
    return f"{entry.op} -> {shapes} at {entry.line}"


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes) or "nothing"

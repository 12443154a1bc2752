"""A run on many chips beside a run of the same model on one: values that are whole, and products.

Ops are paired by name, scope and order. A tensor on a chip is whole (the same as the single
chip's), a part (some slices of it) or a partial sum. Whole values are compared as they are. A
product with a part of a weight is compared with what the single chip's numbers make of that part:
this names the chip, since the sum over all chips comes only after it. Other parts are looked for
among the single chip's by their contents: shown, not judged.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from ..chip.figures import Figures, figures
from ..chip.state import Op, Params
from ..chip.tensor import Array, Tensor
from ..collectives.request import Request
from .comparison import InputRow, Mismatch
from .coverage import Holding
from .parts import Match, identity, match, ranges, slices, split_dim, take
from .program import MeshChip
from .tape import PRODUCTS, Entry, Stored, TapeReader
from .watching import Marks, Watching

LOOK_AHEAD = 16  # ops of the reference that may have no counterpart, in a row
FITS = 0.3  # relative RMS up to which an input belongs to the weight's columns


class Kind(Enum):
    """What a chip's tensor is of the single chip's."""

    WHOLE = "whole"
    PART = "part"
    PARTIAL = "partial sum"


class UnshardedWatcher(Watching):
    """Compares what one chip of many computes with the tape of a single chip."""

    def __init__(self, chip: MeshChip, tape: TapeReader) -> None:
        super().__init__(chip)
        self.tape, self.next_entry = tape, 0
        self.num_paired = 0
        self.kinds: Marks[Kind] = Marks()
        self.maps: Marks[tuple[Stored, tuple[Match, Match]]] = Marks()
        self.holdings: list[Holding] = []
        self.mismatch: Mismatch | None = None

    def ran(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params, outputs: tuple[Tensor, ...]
    ) -> None:
        """Compare an op's outputs."""
        self.next_op()
        written = outputs or inputs[:1]
        entry = self._entry(op.name)
        kinds = self._kinds_of(inputs, entry)
        if entry is None:
            self._unpaired(op.name, written, kinds)
        elif op.name in PRODUCTS and Kind.PART in kinds and _is_matrix(inputs):
            self._product(op.name, inputs, kinds, written[0], entry)
        else:
            kind = max(kinds, key=list(Kind).index, default=Kind.WHOLE)
            seen = self.inputs_of(inputs)
            for index, (tensor, stored) in enumerate(zip(written, entry.outputs, strict=False)):
                self._value(op.name, tensor, self.tape.read(stored), kind, seen, index, False)

    def communicated(self, request: Request, x: Tensor, result: Tensor | None) -> None:
        """Compare what a collective gave this chip: whole, if it was over all chips."""
        self.next_op()
        name = request.operation.label
        entry = self._entry(name)
        if result is None:
            return
        if entry is None or not entry.outputs:
            self._unpaired(name, (result,), (Kind.PART,), is_collective=True)
            return
        kind = Kind.WHOLE if request.axis is None else self.kinds.get(x) or Kind.WHOLE
        expected = self.tape.read(entry.outputs[0])
        self._value(name, result, expected, kind, self.inputs_of((x,)), 0, True)

    def ended(self) -> None:
        """The program is over: something must have been compared."""
        if self.tape.entries and not self.num_paired:
            found = f"{self.ordinal + 1} ops, none of them the reference's"
            expected = f"{self.tape.entries[0].op} at {self.tape.entries[0].line}"
            self.mismatch = Mismatch(0, self.chip.rank, found, expected)

    def _entry(self, op: str) -> Entry | None:
        """The reference's next op of this name in this scope; None when it has none near."""
        ahead = self.tape.entries[self.next_entry : self.next_entry + LOOK_AHEAD]
        for offset, entry in enumerate(ahead):
            if entry.op == op and entry.scope == self.scope:
                self.next_entry += offset + 1
                self.num_paired += 1
                return entry
        return None

    def _kinds_of(self, inputs: tuple[Tensor, ...], entry: Entry | None) -> tuple[Kind, ...]:
        """What each input is; those from outside are whole if they have the reference's shape."""
        kinds = []
        for index, tensor in enumerate(inputs):
            known = self.kinds.get(tensor)
            if known is None:
                shapes = () if entry is None else entry.shapes[index : index + 1]
                known = Kind.PART if shapes and shapes[0] != tensor.shape else Kind.WHOLE
            kinds.append(known)
        return tuple(kinds)

    def _unpaired(
        self,
        op: str,
        outputs: tuple[Tensor, ...],
        kinds: tuple[Kind, ...],
        is_collective: bool = False,
    ) -> None:
        for index, tensor in enumerate(outputs):
            self.kinds.put(tensor, max(kinds, key=list(Kind).index, default=Kind.WHOLE))
            note = "the reference has no such op"
            self.note(op, tensor, None, (), index, is_collective, judged=False, note=note)

    def _value(
        self,
        op: str,
        tensor: Tensor,
        expected: Array,
        kind: Kind,
        seen: tuple[InputRow, ...],
        index: int,
        is_collective: bool,
    ) -> None:
        """Compare one output that is whole, or look for the slices of one that is a part."""
        dim = split_dim(tensor.shape, expected.shape)
        holds, note, found = "", "", None
        if tensor.shape == expected.shape and kind is Kind.WHOLE:
            found = figures(tensor.to_numpy(), expected, tensor.dtype)
        elif kind is Kind.PARTIAL or dim is None or not expected.size:
            note = f"a {Kind.PARTIAL.value}" if kind is Kind.PARTIAL else "of a part"
        else:
            kind, values = Kind.PART, tensor.to_numpy()
            matched = match(slices(values, dim), slices(expected, dim))
            found = figures(values, take(expected, dim, matched), tensor.dtype)
            holds, note = matched.holds, "a part, found by its contents"
        self.kinds.put(tensor, kind)
        self.note(
            op, tensor, found, seen, index, is_collective,
            judged=kind is Kind.WHOLE and found is not None, holds=holds, note=note,
        )  # fmt: skip

    def _product(
        self,
        op: str,
        inputs: tuple[Tensor, ...],
        kinds: tuple[Kind, ...],
        output: Tensor,
        entry: Entry,
    ) -> None:
        """Compare a product with what the reference's numbers make of the chip's own part."""
        x, weight = inputs[0].to_numpy(), matrix(op, inputs[1].to_numpy())
        x_ref, whole = (self.tape.read(stored) for stored in entry.inputs[:2])
        whole = matrix(op, whole)
        out_ref = self.tape.read(entry.outputs[0])
        maps = self._maps(inputs[1], weight, whole, entry.inputs[1])
        if maps is None:
            self.kinds.put(output, Kind.PART)
            note = "the weight is cut in two dims, or in none that the reference's has"
            self.note(op, output, None, self.inputs_of(inputs), judged=False, note=note)
            return
        rows, cols = maps
        is_cut_in_cols = weight.shape[1] != whole.shape[1]
        if op == "embedding":
            held = np.isin(x, rows.nearest[rows.found])
            expected = np.where(held[..., None], out_ref, 0)
            x_row = InputRow(None)
        elif is_cut_in_cols:
            used, x_row = self._input_part(x, x_ref, cols, output)
            part = np.take(whole, used.nearest, axis=1)
            x_used = take(x_ref, x_ref.ndim - 1, used)
            with np.errstate(all="ignore"):
                expected = x_used @ part.T
                if len(inputs) > 2:
                    expected = expected + inputs[2].to_numpy()
        else:
            expected = take(out_ref, out_ref.ndim - 1, rows)
            x_row = self.inputs_of(inputs)[0]
        matched, dim = (cols, 1) if is_cut_in_cols else (rows, 0)
        size = whole.shape[dim]
        holding = Holding.of(self.ordinal, self.next_entry - 1, dim, matched, size)
        self.holdings.append(holding)
        what = holding.what
        fault = f"{matched.foreign} of {matched.found.size} {what} are none of the reference's"
        w_row = InputRow(None, fault if matched.foreign else f"{what} {matched.holds}")
        result = figures(output.to_numpy(), expected.astype(np.float32), output.dtype)
        is_partial = is_cut_in_cols or op == "embedding"
        self.kinds.put(output, Kind.PARTIAL if is_partial else Kind.PART)
        self.note(
            op, output, result, (x_row, w_row),
            holds=matched.holds, note="a partial sum" if is_partial else "",
        )  # fmt: skip

    def _maps(
        self, tensor: Tensor, weight: Array, whole: Array, stored: Stored
    ) -> tuple[Match, Match] | None:
        """Which rows and columns of the whole weight the chip holds; remembered by weight."""
        known = self.maps.get(tensor)
        if known is not None and known[0] == stored:
            return known[1]
        rows, cols = identity(whole.shape[0]), identity(whole.shape[1])
        if split_dim(weight.shape, whole.shape) == 0:
            rows = match(weight, whole)
        elif split_dim(weight.shape, whole.shape) == 1:
            cols = match(weight.T, whole.T)
        else:
            return None
        self.maps.put(tensor, (stored, (rows, cols)))
        return rows, cols

    def _input_part(
        self, x: Array, x_ref: Array, cols: Match, output: Tensor
    ) -> tuple[Match, InputRow]:
        """Which of the reference's columns the chip's input is, and how near it comes to them.

        Those of its weight, if they fit; else those that are most like it.
        """
        last = x.ndim - 1
        if not cols.foreign:
            seen = self._input_figures(x, x_ref, cols, output)
            if seen.relative_rms <= FITS:
                return cols, InputRow(seen, f"columns {cols.holds}")
        by_value = match(slices(x, last), slices(x_ref, last))
        used = Match(by_value.nearest, by_value.found & ~cols.blank, cols.blank)
        seen = self._input_figures(x, x_ref, used, output)
        return used, InputRow(
            seen, f"columns {ranges(used.nearest[used.found])}, by their contents"
        )

    def _input_figures(self, x: Array, x_ref: Array, used: Match, output: Tensor) -> Figures:
        counts = ~used.blank
        expected = take(x_ref, x.ndim - 1, used)
        return figures(x[..., counts], expected[..., counts], output.dtype)


def _is_matrix(inputs: tuple[Tensor, ...]) -> bool:
    return len(inputs) > 1 and len(inputs[1].shape) == 2


def matrix(op: str, weight: Array) -> Array:
    """A weight with a row for each output: matmul has them as columns."""
    return weight.T if op == "matmul" else weight

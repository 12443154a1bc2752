"""A whole collective in shared memory, in one call: direct.c."""

from collections.abc import Sequence
from typing import Any

HEADER_BYTES: int  # of a slot; small inputs must fit in the rest
MISMATCH: int  # another member called with another digest or number; all members are told
NOT_SHARED: int  # a tensor is out of the others' reach, or `elsewhere`; all members are told
STALLED: int  # patience is over: see Group.phase and Group.missing, and call again
ABORTED: int  # a chip aborted the run

class Work:
    """One chip's part of a plan, checked once and run many times.

    Args:
        dtype: 0 f32, 1 bf16 (words), 2 f16, 3 i32, 4 u32, 5 i8, 6 u8.
        op: 0 sum, 1 min, 2 max, 3 prod.
        wire: what code -2 rounds to: 0 nothing, 1 bf16, 2 f16, 3 bfp8_b, 4 bfp4_b. The blocks of
            those are 16 items from the start of a run's row.
        programs: stack programs, int16 each: m >= 0 pushes member m's items; -1 pops right, then
            left, and pushes left OP right; -2 rounds the top to the wire's dtype; -3 divides it by
            num_members. One push alone copies bits.
        all_runs: int64[k, 7]: all that makes up this chip's output; used when `small`.
        shared_runs: this chip's share of the result, written to all `targets`; otherwise used.
            A run is (which, rows, num_bytes, in_offset, in_stride, out_offset, out_stride), with
            bytes throughout; num_bytes is of one row. which = m >= 0 copies from member m's input;
            -1 - p reduces all inputs, at the same offsets, with program p.
        targets: the members whose outputs this chip writes.
        input_bytes, output_bytes: of this chip's tensors; 0 where it has none.
        small: take one meeting and the slots, not two and the heaps. The same on all members.
        shares_input: others read this chip's input. shares_output: others write its output.
        elsewhere: only meet and compare calls, then answer NOT_SHARED. The same on all members.
    Raises:
        ValueError: a program or run that makes no sense.
    """

    def __init__(
        self,
        dtype: int,
        op: int,
        wire: int,
        num_members: int,
        programs: Sequence[Any],
        all_runs: Any,
        shared_runs: Any,
        targets: Sequence[int],
        input_bytes: int,
        output_bytes: int,
        small: bool,
        shares_input: bool,
        shares_output: bool,
        elsewhere: bool = False,
    ) -> None: ...

class Group:
    """A window as compiled code sees it: `Group(*window.layout())`. For one thread at a time."""

    phase: int  # where the last call stood: in meeting 1 or 2
    missing: int  # whom the last call that STALLED waited for, by index
    def __init__(
        self,
        buffers: tuple[Any, ...],
        member: int,
        channel_at: int,
        slots_at: tuple[int, int],
        slot_bytes: int,
        run_at: int,
        abort_at: int,
        heap_at: int,
        heap_bytes: int,
        sees_heaps: bool,
        /,
    ) -> None: ...
    def run(
        self,
        work: Work,
        digest: bytes,
        number: int,
        sim_now_ps: int,
        input: Any,
        output: Any,
        phase: int,
        patience_s: float,
        /,
    ) -> tuple[int, ...] | int | None:
        """One collective call.

        Args:
            digest: 16 bytes; with `number`, the same on all members or it is a MISMATCH.
            input, output: C-contiguous arrays, or None for no bytes. Output may be input where
                every run reads and writes the same offsets.
            phase: 0; or self.phase, to go on with a call that STALLED (same arguments otherwise).
        Returns:
            None: done, and all members entered at sim_now_ps. A tuple: done; when each entered.
            An int: MISMATCH, NOT_SHARED, STALLED or ABORTED. The first two are certain
            after one publish of every member, so all go on from there alike.
        """

def isa() -> str:
    """The instruction set in use: avx512, avx2 or portable."""

def use_isa(name: str, /) -> None:
    """Use another one, for tests. Raises ValueError where the processor lacks it."""

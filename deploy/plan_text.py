"""A plan for people: what it reaches, what it takes, and the ops that take the time."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..chip.errors import OutOfMemory
from ..chip.units import PS_PER_US
from ..models.catalogue import model_note
from ..models.model_plan import ModelPlan, rate_per_s
from ..models.plan import Deployment
from ..models.plan_fit import Alternative
from ..models.plan_ops import OpRow, Peaks, op_rows
from ..models.plan_phase import Phase, PlannedMemory
from .plan_band import band_of

PIPE_WIDTH = 100
"""Columns where the output is no terminal."""
SHORT = ("scaled_dot_product_attention", "sdpa")
"""A name that would take half a line, and what ttnn's own programs call it."""
HINTS = {
    "tp": "more chips",
    "precision": "lower precision",
    "batch": "fewer users",
    "box": "other box",
}


def show(name: str, plan: ModelPlan, num_rows: int) -> None:
    """Print a plan, with so many rows of each table of ops."""
    console, deployment = _console(), plan.deployment
    _print_head(console, name, deployment)
    figures = _grid()
    seats = deployment.batch_of_replica
    note = "of one user"
    if seats > 1:
        note += f"; {seats} users, one by one: {_time(plan.sim_prefill_all_s)}"
    band, rate = band_of(plan), plan.sim_tokens_per_s_per_user
    low, high = band.of_ttft(plan.sim_ttft_s)
    figures.add_row("TTFT", _within(_time(plan.sim_ttft_s), _time(low), _time(high)), note)
    low, high = band.of_rate(rate)
    shown = _within(*map(_number, (rate, low, high)))
    figures.add_row("tokens/s/user", shown, _course(plan))
    whole, users = plan.sim_tokens_per_s, _many(deployment.batch)
    shown = _within(*map(_number, (whole, *band.of_rate(whole))))
    figures.add_row("tokens/s", shown, f"of {users}")
    _add_memory(figures, plan.memory)
    console.print(figures)
    _print_notes(console, band.notes)
    title = f"decode step of {_many(seats)}, {deployment.positions[1]} tokens in the cache of each"
    _print_phase(console, title, plan.decode, plan.peaks, num_rows)
    title = f"prefill of one user, {deployment.prompt} tokens"
    _print_phase(console, title, plan.prefill, plan.peaks, num_rows)


def show_unfit(
    name: str,
    deployment: Deployment,
    needed: PlannedMemory,
    error: OutOfMemory,
    alternatives: Sequence[Alternative],
) -> None:
    """Print what does not fit, and what would."""
    console = _console()
    _print_head(console, name, deployment)
    console.print(f"It does not fit: there is no room for {error.what!r}.\n", soft_wrap=True)
    memory = _grid()
    _add_memory(memory, needed)
    console.print(memory)
    console.print("\nwhat would fit, each alone:")
    choices = _grid()
    for alternative in alternatives:
        choices.add_row(f"  {HINTS[alternative.change]}", _choice(alternative))
    console.print(choices)


def _console() -> Console:
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False)


def _print_head(console: Console, name: str, deployment: Deployment) -> None:
    rows, columns = deployment.mesh
    chips = f"{deployment.tp * deployment.dp} of {deployment.box.num_chips} chips"
    console.print(
        f"{name} on {deployment.box.name}: tp {deployment.tp} ({rows}x{columns}) x dp "
        f"{deployment.dp}, {chips}",
        soft_wrap=True,
    )
    console.print(
        f"{_many(deployment.batch)}, {deployment.prompt} + {deployment.output} tokens, "
        f"{deployment.precision.name}, stack {deployment.stack}; all simulated",
        soft_wrap=True,
    )
    if note := model_note(name):
        console.print(note, soft_wrap=True)
    console.print()


def _grid() -> Table:
    """Columns without a head: what, how much, and remarks."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    return grid


def _within(value: str, low: str, high: str) -> str:
    """A figure with its band; the unit of the ends is left out where it is the same."""
    unit = value.partition(" ")[2]
    if unit and low.endswith(f" {unit}") and high.endswith(f" {unit}"):
        low = low.removesuffix(f" {unit}")
    return f"{value} ({low} to {high})"


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    """Why the bands are wider than those of measured rows."""
    if notes:
        console.print("\nbands are wider than where it was measured:", soft_wrap=True)
    for note in notes:
        console.print(f"  {note}", soft_wrap=True)


def _course(plan: ModelPlan) -> str:
    """How the rate changes from the first step to the last one."""
    first, last = map(rate_per_s, (plan.sim_first_step_ps, plan.sim_last_step_ps))
    if _number(first) == _number(last):
        return "from the first decode step to the last"
    return f"first {_number(first)}, last {_number(last)}"


def _add_memory(grid: Table, memory: PlannedMemory) -> None:
    used = _of(memory.dram_peak_bytes, memory.dram_capacity_bytes, 1e9, "GB")
    parts = (memory.weight_bytes, memory.cache_bytes, memory.activation_bytes)
    weights, cache, activations = map(_size, parts)
    note = f"weights {weights}, KV {cache}, activations {activations}"
    grid.add_row("DRAM of a chip", used, note)
    used = _of(memory.l1_peak_bytes, memory.l1_capacity_bytes, 1e6, "MB")
    note = f"circular buffers of {memory.l1_op}"
    if memory.l1_tensor_bytes:
        note += f", beside {memory.l1_tensor_bytes / 1e6:.2f} of tensors"
    grid.add_row("L1 of a core", used, note)


def _print_phase(console: Console, title: str, phase: Phase, peaks: Peaks, num_rows: int) -> None:
    shares = sorted(phase.shares.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{bound} {share:.0%}" for bound, share in shares)
    console.print(f"\n{title}: {_time(phase.sim_s)}", soft_wrap=True)
    console.print(f"bound by: {parts}", soft_wrap=True)
    if not num_rows:
        return
    rows = op_rows(phase.records, peaks)
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("op", no_wrap=True)
    table.add_column("operands", overflow="ellipsis", min_width=8)
    for head in ("count", "us", "share", "bound", "MB", "rate", "peak"):
        table.add_column(head, justify="left" if head == "bound" else "right", no_wrap=True)
    for row in rows[:num_rows]:
        table.add_row(*_cells(row))
    rest = rows[num_rows:]
    if rest:
        table.add_row(*_rest(rest))
    console.print(table)


def _cells(row: OpRow) -> list[str | Text]:
    return [
        row.name.replace(*SHORT),
        Text(row.operands, no_wrap=True, overflow="ellipsis"),
        str(row.count),
        f"{row.sim_duration_ps / PS_PER_US:.1f}",
        f"{row.share:.1%}",
        row.bound,
        f"{row.bytes / 1e6:.1f}",
        _rate(row),
        "-" if row.utilisation is None else f"{row.utilisation:.0%}",
    ]


def _rest(rows: Sequence[OpRow]) -> list[str]:
    return [
        "(others)",
        f"{len(rows)} rows",
        str(sum(row.count for row in rows)),
        f"{sum(row.sim_duration_ps for row in rows) / PS_PER_US:.1f}",
        f"{sum(row.share for row in rows):.1%}",
        "",
        f"{sum(row.bytes for row in rows) / 1e6:.1f}",
        "",
        "",
    ]


def _rate(row: OpRow) -> str:
    if row.bound == "compute" and row.utilisation is not None:
        return f"{_digits(row.sim_flops_per_s / 1e12)} TFLOPS"
    return f"{_digits(row.sim_bytes_per_s / 1e9)} GB/s"


def _digits(value: float) -> str:
    """Three digits, or two decimals of what is small."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _choice(alternative: Alternative) -> str:
    found = alternative.deployment
    if found is None:
        return {
            "tp": "none: not with all chips of the box in one replica",
            "precision": "none: not in the lowest one, bfp4_b",
            "batch": "none: not one user a replica",
            "box": "none: no box that is known",
        }[alternative.change]
    rows, columns = found.mesh
    return {
        "tp": f"--tp {found.tp} --dp {found.dp}  ({rows}x{columns})",
        "precision": f"--precision {found.precision.name}",
        "batch": f"--batch {found.batch}",
        "box": f"--box {found.box.name} --tp {found.tp} --dp {found.dp}",
    }[alternative.change]


def _of(used: int, capacity: int, unit: float, name: str) -> str:
    return f"{used / unit:.2f} of {capacity / unit:.2f} {name} ({used / capacity:.0%})"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _many(users: int) -> str:
    return "1 user" if users == 1 else f"{users} users"


def _time(sim_s: float) -> str:
    """A time in ms, or s if long."""
    return f"{sim_s:.2f} s" if sim_s >= 10 else f"{sim_s * 1e3:.2f} ms"


def _number(value: float) -> str:
    """A rate with four digits or so."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"

"""How measured rows are shown: the columns of nccl-tests, CSV, and plain values for JSON."""

from typing import Any

from ..collectives.bench import Row

CSV_COLUMNS = (
    "collective",
    "num_ranks",
    "size_bytes",
    "count",
    "dtype",
    "redop",
    "root",
    "iterations",
    "wall_us",
    "wall_min_us",
    "wall_algbw_gb_per_s",
    "wall_busbw_gb_per_s",
    "num_wrong",
    "sim_us",
    "sim_algbw_gb_per_s",
    "sim_busbw_gb_per_s",
)

_WHAT = "{:>12} {:>12} {:>9} {:>6} {:>5}"
_WALL = "{:>10} {:>10} {:>8} {:>8} {:>7}"
_SIM = "{:>11} {:>10} {:>10}"
_LINE = f"{_WHAT} | {_WALL} | {_SIM}"


def header(box: str) -> list[str]:
    """The lines over the table: wall time and simulated time each under their own heading."""
    wall, sim = "wall (this machine)", f"simulated ({box})"
    blank = _WHAT.format("", "", "", "", "")
    return [
        f"{blank} | {wall:^47} | {sim:^33}".rstrip(),
        _LINE.format(
            *("size", "count", "type", "redop", "root"),
            *("time", "min", "algbw", "busbw", "#wrong"),
            *("sim_time", "sim_algbw", "sim_busbw"),
        ),
        _LINE.format(
            *("(B)", "(elements)", "", "", ""),
            *("(us)", "(us)", "(GB/s)", "(GB/s)", ""),
            *("(us)", "(GB/s)", "(GB/s)"),
        ),
    ]


def line(row: Row) -> str:
    """One row of the table."""
    return _LINE.format(
        *(row.size, row.count, row.dtype, row.redop, row.root),
        *(_us(row.wall_us), _us(row.wall_min_us)),
        *(f"{row.wall_algbw:.3f}", f"{row.wall_busbw:.3f}"),
        "N/A" if row.num_wrong is None else row.num_wrong,
        *(f"{row.sim_us:.3f}", f"{row.sim_algbw:.3f}", f"{row.sim_busbw:.3f}"),
    )


def values(row: Row) -> dict[str, Any]:
    """The row as plain values, named as in CSV_COLUMNS."""
    return {
        "collective": row.collective,
        "num_ranks": row.num_ranks,
        "size_bytes": row.size,
        "count": row.count,
        "dtype": row.dtype,
        "redop": row.redop,
        "root": row.root,
        "iterations": row.iterations,
        "wall_us": round(row.wall_us, 3),
        "wall_min_us": round(row.wall_min_us, 3),
        "wall_algbw_gb_per_s": round(row.wall_algbw, 6),
        "wall_busbw_gb_per_s": round(row.wall_busbw, 6),
        "num_wrong": row.num_wrong,
        "sim_us": row.sim_us,
        "sim_algbw_gb_per_s": round(row.sim_algbw, 6),
        "sim_busbw_gb_per_s": round(row.sim_busbw, 6),
    }


def csv_line(row: Row) -> str:
    """The row as a line of CSV; a value that there is not is empty."""
    return ",".join("" if value is None else str(value) for value in values(row).values())


def _us(time_us: float) -> str:
    return f"{time_us:.2f}" if time_us < 1e5 else f"{time_us:.0f}"

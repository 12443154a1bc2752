"""What a generation took: tokens, rates in wall and simulated time, bytes on links, DRAM."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ..mesh.messages import ChipReport
from ..models.generator import Generator

MAX_LINES = 8
"""Chips and links shown one by one; of more, the totals (--json has all)."""


def summarise(
    model: str, generator: Generator, reports: list[ChipReport], text: str
) -> dict[str, Any]:
    """Everything that is shown, as plain values; times in seconds, sizes in bytes."""
    statistics, mesh = generator.statistics, generator.mesh
    links: dict[tuple[int, int], int] = {}
    for report in reports:
        for link, num_bytes in report.link_bytes.items():
            links[link] = links.get(link, 0) + num_bytes
    return {
        "text": text,
        "token_ids": statistics.token_ids,
        "stopped_by": statistics.stopped_by,
        "model": model,
        "box": mesh.box.name,
        "dtype": generator.precision.name,
        "num_chips": mesh.num_chips,
        "num_prompt_tokens": statistics.num_prompt_tokens,
        "num_new_tokens": statistics.num_new_tokens,
        "wall_ttft_s": statistics.wall_ttft_s,
        "wall_decode_tokens_per_s": statistics.wall_tokens_per_s,
        "sim_ttft_s": statistics.sim_ttft_s,
        "sim_decode_tokens_per_s_per_user": statistics.sim_tokens_per_s_per_user,
        "links": [
            {"src": src, "dst": dst, "bytes": num_bytes}
            for (src, dst), num_bytes in sorted(links.items())
        ],
        "chips": [
            {
                "rank": report.rank,
                "pid": report.pid,
                "host": report.host,
                "num_ops": report.num_ops,
                "dram_used_bytes": report.dram_used_bytes,
                "dram_peak_bytes": report.dram_peak_bytes,
                "dram_capacity_bytes": report.dram_capacity_bytes,
            }
            for report in reports
        ],
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the table of a summary."""
    title = f"{result['model']} ({result['dtype']}) on {result['box']}, {result['num_chips']} chips"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    prompt, new = result["num_prompt_tokens"], result["num_new_tokens"]
    table.add_row("tokens", f"{prompt} prompt + {new} new ({result['stopped_by']})")
    table.add_row(
        "wall decode, this machine", _rate(result["wall_decode_tokens_per_s"], "tokens/s")
    )
    table.add_row("sim TTFT, emulated chips", f"{result['sim_ttft_s'] * 1e3:.3f} ms")
    sim_rate = result["sim_decode_tokens_per_s_per_user"]
    table.add_row("sim decode, emulated chips", _rate(sim_rate, "tokens/s/user"))
    table.add_section()
    for name, value in _links(result["links"]) + _chips(result["chips"]):
        table.add_row(name, value)
    console.print(table)


def _rate(value: float | None, unit: str) -> str:
    return "- (one token only)" if value is None else f"{value:.1f} {unit}"


def _links(links: list[dict[str, int]]) -> list[tuple[str, str]]:
    if not links:
        return [("links", "none: one chip")]
    if len(links) <= MAX_LINES:
        return [(f"link {a['src']} -> {a['dst']}", _size(a["bytes"])) for a in links]
    sizes = [link["bytes"] for link in links]
    busiest = max(links, key=lambda link: link["bytes"])
    return [
        (f"{len(links)} links, in all", _size(sum(sizes))),
        (f"busiest link {busiest['src']} -> {busiest['dst']}", _size(busiest["bytes"])),
    ]


def _chips(chips: list[dict[str, Any]]) -> list[tuple[str, str]]:
    if len(chips) > MAX_LINES:
        fullest = max(chips, key=lambda chip: int(chip["dram_peak_bytes"]))
        return [(f"DRAM of the fullest chip ({fullest['rank']})", _dram(fullest))]
    return [(f"DRAM of chip {chip['rank']} (pid {chip['pid']})", _dram(chip)) for chip in chips]


def _dram(chip: dict[str, Any]) -> str:
    return f"{_size(chip['dram_peak_bytes'])} of {_size(chip['dram_capacity_bytes'])}"


def _size(num_bytes: int) -> str:
    """Bytes in decimal units, as the hardware's data sheets give them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.2f} {unit}"
    return f"{num_bytes} B"

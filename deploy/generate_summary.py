"""What a generation took: tokens, rates in wall and simulated time, bytes on links, DRAM."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from ..mesh.messages import ChipReport
from ..models.generation_statistics import GenerationStatistics
from ..models.generator import Generator

MAX_LINES = 8
"""Chips and links shown one by one; of more, the totals (--json has all)."""


class Answer(NamedTuple):
    """What one prompt was answered, and what that took."""

    text: str
    statistics: GenerationStatistics


def summarise(
    model: str, generator: Generator, reports: list[ChipReport], answers: Sequence[Answer]
) -> dict[str, Any]:
    """Everything that is shown, as plain values; times in seconds, sizes in bytes.

    Of several prompts, what is each one's own is under "users", by prompt.
    """
    mesh = generator.mesh
    links: dict[tuple[int, int], int] = {}
    for report in reports:
        for link, num_bytes in report.link_bytes.items():
            links[link] = links.get(link, 0) + num_bytes
    users = [_user(answer) for answer in answers]
    return {
        **(users[0] if len(users) == 1 else {"users": users}),
        "model": model,
        "box": mesh.box.name,
        "dtype": generator.precision.name,
        "num_chips": mesh.num_chips,
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


def _user(answer: Answer) -> dict[str, Any]:
    text, statistics = answer
    return {
        "text": text,
        "token_ids": statistics.token_ids,
        "stopped_by": statistics.stopped_by,
        "num_prompt_tokens": statistics.num_prompt_tokens,
        "num_new_tokens": statistics.num_new_tokens,
        "wall_ttft_s": statistics.wall_ttft_s,
        "wall_decode_tokens_per_s": statistics.wall_tokens_per_s,
        "sim_ttft_s": statistics.sim_ttft_s,
        "sim_decode_tokens_per_s_per_user": statistics.sim_tokens_per_s_per_user,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the table of a summary."""
    chips = many_chips(result["num_chips"])
    title = f"{result['model']} ({result['dtype']}) on {result['box']}, {chips}"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    users = result.get("users", [result])
    prompt, new = (sum(user[f"num_{kind}_tokens"] for user in users) for kind in ("prompt", "new"))
    longest = max(users, key=lambda user: int(user["num_new_tokens"]))  # it took part in all steps
    what = longest["stopped_by"] if len(users) == 1 else f"{len(users)} users"
    table.add_row("tokens", f"{prompt} prompt + {new} new ({what})")
    unit = "tokens/s" if len(users) == 1 else "tokens/s/user"
    table.add_row("wall decode, this machine", _rate(longest["wall_decode_tokens_per_s"], unit))
    ttft = " to ".join(f"{user['sim_ttft_s'] * 1e3:.3f}" for user in users[:: len(users) - 1 or 1])
    table.add_row("sim TTFT, emulated chips", f"{ttft} ms")
    sim_rate = longest["sim_decode_tokens_per_s_per_user"]
    table.add_row("sim decode, emulated chips", _rate(sim_rate, "tokens/s/user"))
    table.add_section()
    for name, value in _links(result["links"]) + _chips(result["chips"]):
        table.add_row(name, value)
    console.print(table)


def many_chips(num: int) -> str:
    """A number of chips in words."""
    return "1 chip" if num == 1 else f"{num} chips"


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

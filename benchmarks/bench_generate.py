"""Decode and prefill rates of SmolLM2 on 1, 2 and 4 emulated chips, beside transformers on the CPU.

    pip install torch==2.13.0 transformers      # the peer; the product itself does not need them
    python benchmarks/bench_generate.py --out benchmarks/results

Tokens are checked first. Then every contender runs in turn, round after round, in one process, so
that the noise of the machine falls on all alike; a ratio is the median of the rounds' own ratios.
All figures are wall time of this machine; nothing here is simulated time.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ray

from meshtwin.chip.dtype import DType
from meshtwin.deploy.pull import pull
from meshtwin.mesh.device import open_mesh
from meshtwin.models.generator import Generator

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "smollm2_135m.json"
DTYPES = ("bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Rates:
    """Wall tokens per second of one run."""

    prefill: float
    decode: float


Contender = Callable[[list[int], int], tuple[list[int], Rates]]
"""Prompt ids and a count of new tokens to the new ids and the rates."""


def ours(generator: Generator) -> Contender:
    """Greedy generation on a mesh."""

    def run(prompt: list[int], count: int) -> tuple[list[int], Rates]:
        tokens = list(generator.generate(prompt, count, stop_ids=[]))
        took = generator.statistics
        return tokens, Rates(len(prompt) / took.wall_ttft_s, took.wall_tokens_per_s or 0.0)

    return run


def transformers_peer(folder: Path, dtype: str) -> Contender:
    """Greedy generation by transformers, with its cache, one forward a token."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def run(prompt: list[int], count: int) -> tuple[list[int], Rates]:
        with torch.inference_mode():
            start = time.perf_counter()
            out = model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
            tokens = [int(out.logits[0, -1].argmax())]
            first = time.perf_counter()
            while len(tokens) < count:
                step = torch.tensor([[tokens[-1]]])
                out = model(step, past_key_values=out.past_key_values, use_cache=True)
                tokens.append(int(out.logits[0, -1].argmax()))
            end = time.perf_counter()
        return tokens, Rates(len(prompt) / (first - start), (count - 1) / (end - first))

    return run


def check_tokens(name: str, dtype: str, run: Contender) -> int:
    """Compare with the golden tokens up to the first near tie; how many tokens were compared.

    A step counts when the gap of the two best golden logits is above 0.05 (float32) or 0.5
    (bfloat16); the comparison of a prompt ends at the first smaller gap.
    """
    limit, compared = (0.05, 0) if dtype == "float32" else (0.5, 0)
    for entry in json.loads(GOLDEN.read_text()):
        golden = entry["f32" if dtype == "float32" else "bf16"]
        sure = next((i for i, gap in enumerate(golden["gap_top1_top2"]) if gap <= limit), None)
        count = len(golden["ids"]) if sure is None else sure
        if count:
            got, _ = run(entry["prompt_ids"], count)
            if got != golden["ids"][:count]:
                sys.exit(f"{name}: wrong tokens {got}, expected {golden['ids'][:count]}")
            compared += count
    return compared


def measure(
    contenders: dict[str, Contender], prompt: list[int], count: int, rounds: int
) -> dict[str, list[Rates]]:
    """One warm-up and `rounds` runs of every contender, in turn."""
    rates: dict[str, list[Rates]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            _, taken = run(prompt, count)
            if number:
                rates[name].append(taken)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return rates


def table(rates: dict[str, list[Rates]], peer: str) -> list[dict[str, Any]]:
    """Medians, spreads, and medians of the ratios to the peer of the same round."""
    rows = []
    for name, runs in rates.items():
        row: dict[str, Any] = {"contender": name}
        for what in ("decode", "prefill"):
            values = [getattr(run, what) for run in runs]
            ratios = [
                getattr(run, what) / getattr(other, what)
                for run, other in zip(runs, rates[peer], strict=True)
            ]
            row[f"wall_{what}_tokens_per_s"] = round(statistics.median(values), 1)
            row[f"wall_{what}_min_max"] = [round(min(values), 1), round(max(values), 1)]
            row[f"{what}_ratio"] = round(statistics.median(ratios), 2)
        rows.append(row)
    return rows


def page(rows: list[dict[str, Any]], setup: dict[str, Any], peer: str) -> str:
    """The results as Markdown."""
    lines = ["# SmolLM2-135M: decode and prefill, wall time", ""]
    lines += [f"- {key}: {value}" for key, value in setup.items()]
    lines += [
        "",
        f"Medians over the rounds (lowest to highest). Ratios are to {peer}, round by round.",
        "",
        "| contender | decode tokens/s | ratio | prefill tokens/s | ratio |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["contender"]]
        for what in ("decode", "prefill"):
            low, high = row[f"wall_{what}_min_max"]
            cells.append(f"{row[f'wall_{what}_tokens_per_s']} ({low} to {high})")
            cells.append(f"{row[f'{what}_ratio']}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _chips(count: int) -> str:
    return f"{count} chip" if count == 1 else f"{count} chips"


def main() -> None:
    """Parse, check, measure, and print or write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--boxes", default="p150,p300,quietbox2", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32, help="new tokens a run")
    parser.add_argument("--prompt", type=int, default=512, help="prompt tokens a run")
    parser.add_argument("--out", type=Path, help="folder for the results page")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    prompt = np.random.default_rng(0).integers(1000, 40000, args.prompt).tolist()
    peer = "transformers, bfloat16"
    ray.init(address="local", include_dashboard=False, num_cpus=8, logging_level=logging.ERROR)
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for dtype in DTYPES:
            contenders[f"transformers, {dtype}"] = transformers_peer(pull("smollm2", dtype), dtype)
        for box in args.boxes.split(","):
            mesh = stack.enter_context(open_mesh(box))
            for dtype in DTYPES:
                generator = Generator(mesh, pull("smollm2", dtype), DType.parse(dtype))
                contenders[f"meshtwin {box}, {_chips(mesh.num_chips)}, {dtype}"] = ours(generator)
        checked = sum(check_tokens(name, name.split()[-1], run) for name, run in contenders.items())
        rates = measure(contenders, prompt, args.tokens, args.rounds)
    ray.shutdown()
    rows = table(rates, peer)
    python, packages = platform.python_version(), ("meshtwin", "numpy", "ray", "torch")
    setup = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {python}",
        "versions": ", ".join(f"{name} {version(name)}" for name in (*packages, "transformers")),
        "run": f"{args.prompt} prompt tokens, {args.tokens} new ones, {args.rounds} rounds, seed 0",
        "checked": f"{checked} tokens equal to golden ones before measuring",
    }
    if args.json:
        print(json.dumps({"setup": setup, "rows": rows}, indent=2))
    else:
        print(page(rows, setup, peer))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        name = f"generate_{os.cpu_count()}cores_{setup['date']}.md"
        (args.out / name).write_text(page(rows, setup, peer))


if __name__ == "__main__":
    main()

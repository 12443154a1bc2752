"""The compiled loops beside torch and numpy on one thread: products, block floats, conversions.

    pip install torch==2.13.0            # the peer; without it, numpy alone
    python benchmarks/bench_kernels.py --out benchmarks/results

Products x[M,K] . weight[N,K]^T: bfloat16 here; torch bfloat16 with weights that oneDNN has packed
(`mkldnn._reorder_linear_weight` for this M, then `mkldnn._linear_pointwise`); torch bfloat16 with
plain weights; numpy float32. Weights rotate through copies larger than the cache, so that they are
cold. Every answer is checked first. Then each contender runs in turn, round after round; a ratio is
the median of the rounds' own ratios. Times are of the thread's own CPU clock, since the machine may
be shared: its neighbours still take memory bandwidth, of all contenders alike.

For one row, weights read per second are set beside what a plain read of memory reaches in the same
rounds; conversions beside a copy (bytes read and written).
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from meshtwin.chip import kernels

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment, unused-ignore]
else:
    torch.set_num_threads(1)

SHAPES = ((576, 576), (576, 1536), (1536, 576), (1024, 3072), (4096, 4096), (4096, 14336))  # K, N
ROWS = (1, 8, 32, 128, 512)
COLD_BYTES = 100 << 20
LEAST_ROUNDS = 5

Contenders = dict[str, Callable[[int], object]]
"""By name: a call with the number of the round, which says which copy of the weights to take."""


def rounds(contenders: Contenders, budget_s: float) -> dict[str, list[float]]:
    """The seconds of each contender, turn by turn, for about `budget_s` of wall time."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + budget_s
    turn = 0
    while time.perf_counter() < end or len(taken[next(iter(taken))]) < LEAST_ROUNDS:
        for name, call in contenders.items():
            turn += 1
            start = time.thread_time()
            call(turn)
            taken[name].append(time.thread_time() - start)
    return taken


def ratio(taken: dict[str, list[float]], name: str, ours: str) -> float:
    """How many times as long as ours `name` takes."""
    pairs = zip(taken[name], taken[ours], strict=True)
    return statistics.median(theirs / mine for theirs, mine in pairs)


def random_words(*shape: int) -> Any:
    """bfloat16 words of normal numbers."""
    values = np.random.default_rng(1).standard_normal(shape, np.float32)
    out = np.empty(shape, np.uint16)
    kernels.round_words(values, out)
    return out


def widened(words: Any) -> Any:
    out = np.empty(words.shape, np.float32)
    kernels.widen(words, out)
    return out


def random_blocks(n: int, k: int, bits: int) -> Any:
    """Rows of block floats: exponents about 1, any mantissas."""
    rng = np.random.default_rng(2)
    exponents = rng.integers(110, 130, (n, k // 16), dtype=np.uint8)
    mantissas = rng.integers(0, 256, (n, k * bits // 8), dtype=np.uint8)
    return np.hstack((exponents, mantissas))


def products(m: int, k: int, n: int, budget_s: float) -> str:
    """One line of the table of products."""
    num_copies = max(2, COLD_BYTES // (2 * k * n))
    words = [random_words(n, k) for _ in range(num_copies)]
    floats = [widened(words[0]) for _ in range(max(2, num_copies // 2))]
    x, out = random_words(m, k), np.empty((m, n), np.uint16)
    wide_x = widened(x)
    expected = wide_x @ floats[0].T
    close = np.abs(expected).max() / 100

    def check(got: Any) -> None:
        if np.abs(np.asarray(got) - expected).max() > close:
            raise SystemExit(f"wrong answer: M={m} K={k} N={n}")

    def ours(turn: int) -> None:
        kernels.linear(x, words[turn % num_copies], None, out, m, n, k)

    ours(0)
    check(widened(out))
    contenders: Contenders = {"ours": ours}
    if torch is not None:
        tensors = [torch.from_numpy(w.view(np.int16)).view(torch.bfloat16) for w in words]
        packed = [torch.ops.mkldnn._reorder_linear_weight(tensor, m) for tensor in tensors]
        rows = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        pointwise = torch.ops.mkldnn._linear_pointwise

        def prepacked(turn: int) -> Any:
            return pointwise(rows, packed[turn % num_copies], None, "none", [], "")

        def plain(turn: int) -> Any:
            return torch.nn.functional.linear(rows, tensors[turn % num_copies])

        check(prepacked(0).float())
        check(plain(0).float())
        contenders |= {"packed": prepacked, "torch": plain}
    contenders["numpy"] = lambda turn: wide_x @ floats[turn % len(floats)].T
    if m == 1:
        contenders["read"] = lambda turn: words[turn % num_copies].view(np.uint8).max()
    taken = rounds(contenders, budget_s)
    seconds = statistics.median(taken["ours"])
    line = f"| {k},{n} | {m} | {seconds * 1e6:.0f} | {2 * m * n * k / seconds / 1e9:.0f} |"
    for name in ("packed", "torch", "numpy"):
        line += f" {ratio(taken, name, 'ours'):.2f} |" if name in taken else " - |"
    if m > 1:
        return line + " - |"
    reads = 2 * k * n / statistics.median(taken["read"]) / 1e9
    return line + f" {2 * k * n / seconds / 1e9:.1f} of {reads:.1f} |"


def blocks(k: int, n: int, budget_s: float) -> str:
    """One line of the table of block floats, one row of x."""
    num_copies = max(2, COLD_BYTES // (2 * k * n))
    words = [random_words(n, k) for _ in range(num_copies)]
    packed = {
        bits: [random_blocks(n, k, bits) for _ in range(num_copies * 16 // bits)] for bits in (8, 4)
    }
    x, out, expected = random_words(1, k), np.empty((1, n), np.uint16), np.empty((1, n), np.uint16)
    contenders: Contenders = {
        "words": lambda turn: kernels.linear(x, words[turn % num_copies], None, out, 1, n, k)
    }
    for bits, copies in packed.items():
        unpacked = np.empty((n, k), np.uint16)
        kernels.unpack_blocks(copies[0], unpacked, k, bits)
        kernels.linear(x, unpacked, None, expected, 1, n, k)
        kernels.linear_block(x, copies[0], bits, None, out, 1, n, k)
        if out.tobytes() != expected.tobytes():
            raise SystemExit(f"wrong answer: bfp{bits} K={k} N={n}")

        def call(turn: int, bits: int = bits, copies: Any = copies) -> None:
            kernels.linear_block(x, copies[turn % len(copies)], bits, None, out, 1, n, k)

        contenders[f"bfp{bits}"] = call
    taken = rounds(contenders, budget_s)
    ratios = [1 / ratio(taken, f"bfp{bits}", "words") for bits in (8, 4)]
    return f"| {k},{n} | {ratios[0]:.2f} | {ratios[1]:.2f} |"


def conversions(budget_s: float) -> list[str]:
    """Lines of the table of conversions, 32 M elements."""
    size = 32 << 20
    words, floats = random_words(size), np.ones(size, np.float32)
    other = np.empty_like(floats)
    contenders: Contenders = {
        "copy": lambda turn: np.copyto(other, floats),
        "widen": lambda turn: kernels.widen(words, other),
        "round_words": lambda turn: kernels.round_words(floats, words),
    }
    for bits in (8, 4):
        packed = random_blocks(size // 4096, 4096, bits)

        def call(turn: int, bits: int = bits, packed: Any = packed) -> None:
            kernels.unpack_blocks(packed, words, 4096, bits)

        contenders[f"unpack bfp{bits}"] = call
    moved = {"copy": 8.0, "widen": 6.0, "round_words": 6.0}
    moved |= {"unpack bfp8": 2 + 17 / 16, "unpack bfp4": 2 + 9 / 16}
    taken = rounds(contenders, budget_s)
    rates = {name: size * moved[name] / statistics.median(taken[name]) / 1e9 for name in taken}
    return [
        f"| {name} | {rate:.1f} | {rate / rates['copy']:.2f} |"
        for name, rate in rates.items()
        if name != "copy"
    ] + [f"| copy | {rates['copy']:.1f} | 1 |"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="folder for the page of results")
    arguments.add_argument("--budget", type=float, default=1.5, help="seconds for each line")
    args = arguments.parse_args()
    load = os.getloadavg()[0]
    peer = "no torch" if torch is None else f"torch {torch.__version__}"
    lines = [
        f"# Compiled loops, {date.today()}",
        "",
        f"{kernels.instruction_set()}, {len(os.sched_getaffinity(0))} cores, one thread used; "
        f"numpy {np.__version__}, {peer}, Python {platform.python_version()}. "
        "Ratios above 1: we are faster. Thread CPU time, interleaved rounds, medians.",
        "",
        "| K,N | M | us | GFLOP/s | / packed | / torch bf16 | / numpy f32 | GB/s of a read's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)

    def add(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)

    for k, n in SHAPES:
        for m in ROWS:
            add(products(m, k, n, args.budget))
    add("", "One row against block floats, beside words:", "", "| K,N | bfp8 | bfp4 |")
    add("|---|---|---|", *(blocks(k, n, args.budget) for k, n in SHAPES))
    add("", "Conversions:", "", "| loop | GB/s | of a copy |", "|---|---|---|")
    add(*conversions(2 * args.budget))
    add("", f"Load of the machine: {load:.1f} before, {os.getloadavg()[0]:.1f} after.")
    if args.out:
        name = f"kernels_{len(os.sched_getaffinity(0))}cores_{date.today()}.md"
        (args.out / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

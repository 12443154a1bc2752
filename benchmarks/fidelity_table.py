"""The error of each fidelity and accumulator, and of each function of the vector unit, as tables.

    python benchmarks/fidelity_table.py            # seconds
    python benchmarks/fidelity_table.py --model    # and a real model's logits (pulls SmolLM2 once)

Operands are standard normal, K = 1024; the truth is float64 sums of the operands as the chip holds
them. An error is divided by the root mean square of the results (32, the square root of K). These
are the tables of docs/numerics.md: everything here is computed, nothing is timed.
"""

import argparse
from collections.abc import Callable
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.chip import sfpu
from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import EXACT, ComputeConfig, Fidelity
from meshtwin.chip.tensor import Floats, Tensor

Array = npt.NDArray[Any]

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "smollm2_135m_logits.npz"
ROWS, LENGTH, COLUMNS = 256, 1024, 256
HIFI4 = ComputeConfig(Fidelity.HIFI4)

CONFIGS: dict[str, ComputeConfig] = {
    **{str(fidelity): ComputeConfig(fidelity) for fidelity in Fidelity},
    "HiFi4, packer's rounding": HIFI4.but(rounding="packer"),
    "HiFi4, partial sums of 256 in L1": HIFI4.but(k_block=256, packer_l1_acc=True),
    "HiFi4, partial sums of 256 through Dst": HIFI4.but(k_block=256),
    "HiFi4, bfloat16 accumulator": HIFI4.but(accumulate="bfloat16"),
    "HiFi2, bfloat16 accumulator": HIFI4.but(fidelity="HiFi2", accumulate="bfloat16"),
}

LINES = (sfpu.gelu_approx, sfpu.sigmoid_approx, sfpu.tanh_approx)


def error(chip: Chip, x: Tensor, weight: Tensor, config: ComputeConfig) -> tuple[float, float]:
    """Mean absolute error and mean error toward zero, of the root mean square of the results."""
    x64, weight64 = (tensor.to_float32().astype(float) for tensor in (x, weight))
    exact = x64 @ weight64.T
    size = float(np.sqrt(np.mean(exact**2)))
    off = chip.linear(x, weight, compute=config).to_float32() - exact
    return float(np.abs(off).mean()) / size, float(-(off * np.sign(exact)).mean()) / size


def products() -> None:
    """Errors of x [256, 1024] . weight [256, 1024]^T by config."""
    rng, chip = np.random.default_rng(0), Chip.open("p150")
    x, weight = (rng.standard_normal((rows, LENGTH)) for rows in (ROWS, COLUMNS))
    words = [chip.tensor(array, "bfloat16") for array in (x, weight)]
    wide = [chip.tensor(array, "float32") for array in (x, weight)]
    sums = chip.typecast(words[0], "float32")  # bfloat16 operands, result not rounded
    print("| config | phases | bf16 | toward 0 | bf16, sums | toward 0 | float32 | toward 0 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, config in CONFIGS.items():
        cells = [
            f"{value:.1e}" if abs(value) > 1e-9 else "0"
            for pair in ((words[0], words[1]), (sums, words[1]), (wide[0], wide[1]))
            for value in error(chip, *pair, config)
        ]
        print(f"| {name} | {config.fidelity.phases} | {' | '.join(cells)} |")


def _gelu(x: Array) -> Array:
    return np.asarray(x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2)


FUNCTIONS: tuple[tuple[Callable[[Floats], Floats], Callable[[Array], Array], float, float], ...] = (
    (sfpu.exp_approx, np.exp, -80, 80),
    (sfpu.exp_bfloat16, np.exp, -80, 80),
    (sfpu.exp_float32, np.exp, -80, 80),
    (sfpu.reciprocal_approx, np.reciprocal, 0.01, 100),
    (sfpu.reciprocal_bfloat16, np.reciprocal, 0.01, 100),
    (sfpu.reciprocal_float32, np.reciprocal, 0.01, 100),
    (sfpu.sqrt_approx, np.sqrt, 0.01, 100),
    (sfpu.sqrt_float32, np.sqrt, 0.01, 100),
    (sfpu.rsqrt_approx, lambda x: 1 / np.sqrt(x), 0.01, 100),
    (sfpu.rsqrt_float32, lambda x: 1 / np.sqrt(x), 0.01, 100),
    (sfpu.gelu_approx, _gelu, -8, 8),
    (sfpu.sigmoid_approx, lambda x: 1 / (1 + np.exp(-x)), -8, 8),
    (sfpu.tanh_approx, np.tanh, -8, 8),
)


def functions() -> None:
    """The largest error of each function of the vector unit on the bfloat16 numbers of a range."""
    every = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    print("| function | range | largest error |")
    print("|---|---|---|")
    for function, right, least, most in FUNCTIONS:
        x = every[(every >= least) & (every <= most) & (np.abs(every) > 1e-30)]
        exact = right(x.astype(float))
        off, kind = np.abs(function(x) - exact), "absolute"
        if function not in LINES:
            off, kind = off / np.abs(exact), "relative"
        print(f"| {function.__name__} | {least} .. {most} | {off.max():.1e} {kind} |")


def logits(box: str) -> None:
    """Mean distance of SmolLM2-135M's logits from transformers' own, teacher-forced."""
    from meshtwin.deploy.pull import pull
    from meshtwin.mesh.device import open_mesh
    from meshtwin.models.generator import Generator

    golden = np.load(GOLDEN)
    prompt, forced = golden["prompt_ids"].tolist(), golden["forced_ids"].tolist()
    runs = [("bfloat16", ComputeConfig(fidelity)) for fidelity in list(Fidelity)[:4]]
    best = golden["bf16_top20_logits"]
    decided = best[:, 0] - best[:, 1] > 0.5
    print("| dtype | config | from bfloat16 | from float32 | decided steps right |")
    print("|---|---|---|---|---|")
    with open_mesh(box) as mesh:
        for dtype, config in (*runs, ("float32", EXACT), ("float32", HIFI4)):
            generator = Generator(mesh, pull("smollm2", dtype=dtype), dtype, config)
            found = generator.logits([*prompt, *forced[:-1]])[len(prompt) - 1 :]
            cells = []
            for kind in ("bf16", "f32"):
                ids, right = golden[f"{kind}_top20_ids"], golden[f"{kind}_top20_logits"]
                off = np.take_along_axis(found, ids.astype(np.int64), axis=1) - right
                cells.append(f"{np.abs(off).mean():.2g}")
            right_ids = golden["bf16_top20_ids"][decided, 0]
            num_right = int((np.argmax(found, axis=1)[decided] == right_ids).sum())
            cells.append(f"{num_right} of {decided.sum()}")
            print(f"| {dtype} | {config.fidelity} | {' | '.join(cells)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="store_true", help="also measure SmolLM2-135M's logits")
    parser.add_argument("--box", default="p150", help="where the model runs (default: p150)")
    options = parser.parse_args()
    products()
    print()
    functions()
    if options.model:
        print()
        logits(options.box)


if __name__ == "__main__":
    main()

"""The hot loops of a chip on numpy arrays: compiled (the .c files), or else numpy (plain.py).

bfloat16 numbers are 16-bit words, uint16 arrays. Every array must be C-contiguous, and `out` has
the right shape: the ops see to both. Conversions, folds, add, mul, lookup, norms and rotaries give
the same bits either way. `linear` and `attention` sum in float32 in an order of their own: the
compiled one is fixed and the same on every instruction set (lanes.h), numpy's is BLAS's.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import plain, threads
from .threads import num_threads as num_threads
from .threads import set_threads as set_threads

try:
    from . import _core  # type: ignore[attr-defined, unused-ignore]

    _loops: Any = _core
    COMPILED = True
except ImportError:
    warnings.warn(
        "meshtwin runs without its compiled core (meshtwin.chip.kernels._core): a decode step is "
        "several times slower; values agree up to the order of float32 sums. "
        "Install gcc or clang, then reinstall meshtwin.",
        RuntimeWarning,
        stacklevel=2,
    )
    _loops = plain
    COMPILED = False

Array = npt.NDArray[Any]


def instruction_set() -> str:
    """What the loops run on: "avx512bf16", "avx512", "avx2", "portable", or "numpy"."""
    return str(_loops.isa()) if COMPILED else "numpy"


widen = _loops.widen  # (words, out float32)
round_words = _loops.round_words  # (float32, out words): to nearest even; NaN becomes 0x7FC0
add = _loops.add  # (a, b, out): words; b repeats along the leading dims of a
mul = _loops.mul  # (a, b, out)
lookup = _loops.lookup  # (table of 65536 words, x, out)
rms_norm = _loops.rms_norm  # (x, weight float32, out, eps)
layer_norm = _loops.layer_norm  # (x, weight float32, bias float32, out, eps)
softmax = _loops.softmax  # (x float32, out float32, n): each row of n
rotary = _loops.rotary  # (x, cosine float32, sine float32, out, positions, width): i, i + width/2
rotary_pairs = _loops.rotary_pairs  # the same for pairs 2i, 2i + 1
unpack_blocks = _loops.unpack_blocks  # (blocks uint8, out words, K, bits)


def linear(x: Array, weight: Array, bias: Array | None, out: Array, m: int, n: int, k: int) -> None:
    """out[M,N] = x[M,K] . weight[N,K]^T + bias[N], each words or float32; bias float32."""
    if threads.num_threads() == 1:
        _loops.linear(x, weight, bias, out, m, n, k)
    else:
        _shared_out(_loops.linear, (), x, weight, bias, out, (m, n, k))


def linear_block(
    x: Array, weight: Array, bits: int, bias: Array | None, out: Array, m: int, n: int, k: int
) -> None:
    """`linear` with rows of block floats of 8 or 4 bits: see plain.linear_block."""
    if threads.num_threads() == 1:
        _loops.linear_block(x, weight, bits, bias, out, m, n, k)
    else:
        _shared_out(_loops.linear_block, (bits,), x, weight, bias, out, (m, n, k))


def _shared_out(
    product: Callable[..., None],
    bits: tuple[int, ...],
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    sizes: tuple[int, int, int],
) -> None:
    """A product on several threads: by rows of x, or by rows of the weight if x has one."""
    m, n, k = sizes
    rows, results, weights = x.reshape(m, k), out.reshape(m, n), weight.reshape(n, -1)

    def some_rows(start: int, stop: int) -> None:
        product(rows[start:stop], weight, *bits, bias, results[start:stop], stop - start, n, k)

    def some_columns(start: int, stop: int) -> None:
        part = None if bias is None else bias[start:stop]
        product(x, weights[start:stop], *bits, part, results[0, start:stop], 1, stop - start, k)

    if m == 1:
        threads.share_out(some_columns, n, n * k)
    else:
        threads.share_out(some_rows, m, m * n * k)


def attention(
    q: Array, k: Array, v: Array, out: Array, shape: plain.AttentionShape, scale: float
) -> None:
    """Causal attention on words; shape = (B, N heads, K kv heads, S, capacity L, H, start)."""
    if not COMPILED or shape[5] % plain.LANES:  # the compiled one works on whole lanes
        plain.attention(q, k, v, out, shape, scale)
    else:
        _loops.attention(q, k, v, out, *shape, scale)


def fold(
    parts: Sequence[Array], order: Sequence[int] | None = None, out: Array | None = None
) -> Array:
    """Sum equal arrays in a stated order: ((parts[o0] + parts[o1]) + parts[o2]) + ...

    The same bits on every machine, compiled or not; a NaN sum is the canonical quiet NaN.

    Args:
        parts: C-contiguous arrays of one shape and type: float32, uint16 (bfloat16 words, rounded
            to nearest even at every addition), int32 or uint32 (which wrap around).
        order: the indices of the parts to add, first to last; all of them as given if None.
        out: where the sum goes (may be one of the parts); a new array if None.
    """
    chosen = list(parts) if order is None else [parts[index] for index in order]
    if not chosen:
        raise ValueError("fold needs one part or more, not 0")
    if out is None:
        out = np.empty_like(chosen[0])
    kind = out.dtype
    if kind == np.float32 or kind == np.uint16:
        _loops.fold(chosen, out, kind == np.float32)
        return out
    if kind.kind not in "iu":
        raise ValueError(f"fold of {kind} (expected float32, uint16 words or integers)")
    total = chosen[0].copy()
    for part in chosen[1:]:
        total += part
    out[...] = total
    return out

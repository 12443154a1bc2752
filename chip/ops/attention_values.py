"""The values of attention: what all its forms compute.

Of a compute config they take the fidelity (operands masked as `attention_operands` says) and
`approx` (exp and 1 / x by routines of the vector unit); sums and probabilities are float32.

Legend: B batch, N query heads, K key-value heads, S new positions, L positions the cache can hold,
H head dim.
"""

import numpy as np

from .. import kernels
from ..compute_config import ComputeConfig
from ..fidelity import attention_operands
from ..kernels import plain
from ..tensor import Array, Floats
from . import vector_unit
from .shared import narrow, quietly, wide


def attend(
    start: int,
    scale: float,
    compute: ComputeConfig | None,
    q_BNSH: Array,
    k_BKLH: Array,
    v_BKLH: Array,
) -> Array:
    """The values of `attention`; the arrays have one format."""
    if compute is not None and compute.approx:
        seen = start + q_BNSH.shape[2]
        bias = hidden(q_BNSH.shape[2], seen, start)
        users = zip(q_BNSH, k_BKLH[:, :, :seen], v_BKLH[:, :, :seen], strict=True)
        mixed = [mix(scale, compute, *user, bias) for user in users]
        return narrow(np.stack(mixed) if mixed else np.zeros(q_BNSH.shape, np.float32), q_BNSH)
    if compute is not None:
        q_BNSH, k_BKLH, v_BKLH = attention_operands(compute.fidelity, q_BNSH, k_BKLH, v_BKLH)
    batch, heads, positions, width = q_BNSH.shape
    shape = (batch, heads, k_BKLH.shape[1], positions, k_BKLH.shape[2], width, start)
    out = np.empty(q_BNSH.shape, q_BNSH.dtype)
    if q_BNSH.itemsize == 2:
        kernels.attention(q_BNSH, k_BKLH, v_BKLH, out, shape, scale)
    else:
        plain.attention(q_BNSH, k_BKLH, v_BKLH, out, shape, scale)
    return out


def hidden(
    positions: int, length: int, start: int, is_causal: bool = True, window: int | None = None
) -> Floats:
    """-inf where query start+i does not see key j, else 0: [S,L].

    A window is that of the last keys; where all see all, half of it lies to either side.
    """
    ahead = np.arange(length) - (start + np.arange(positions)[:, None])
    if is_causal:
        hides = ahead > 0
        if window is not None:
            hides |= ahead <= -window
    elif window is not None:
        hides = abs(ahead) > window // 2
    else:
        hides = np.zeros_like(ahead, bool)
    return np.where(hides, np.float32(-np.inf), np.float32(0))


@quietly
def mix(
    scale: float,
    compute: ComputeConfig | None,
    q_NSH: Array,
    k_KLH: Array,
    v_KLH: Array,
    bias: Floats | None = None,
    sink_N: Floats | None = None,
) -> Array:
    """One user's attention in float32, of any formats, with all that ttnn can add to it.

    Args:
        compute: None: operands whole, exp and 1 / x exact.
        bias: added to the scaled scores [N,S,L]; it may be of any shape that repeats to that.
        sink_N: a score of each head (scaled as the others) that takes probability and gives none.
    Returns: float32 [N,S,H]
    """
    heads, positions, width = q_NSH.shape
    kv_heads, length = k_KLH.shape[:2]
    group = heads // kv_heads
    if compute is not None:
        q_NSH, k_KLH, v_KLH = attention_operands(compute.fidelity, q_NSH, k_KLH, v_KLH)
    out = np.empty(q_NSH.shape, np.float32)
    if bias is not None:
        bias = np.broadcast_to(bias, (heads, positions, length))
    for head in range(kv_heads):  # one at a time: the scores may be many
        own = slice(head * group, (head + 1) * group)
        products: Floats = wide(q_NSH[own]).reshape(-1, width) @ wide(k_KLH[head]).T
        scores = products.reshape(group, positions, length) * np.float32(scale)
        if bias is not None:
            scores += bias[own]
        top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        if sink_N is not None:
            sink = (sink_N[own] * np.float32(scale))[:, None, None]
            top = np.maximum(top, sink)
        powers = _exp(compute, scores - top)
        total = powers.sum(axis=-1, keepdims=True, dtype=np.float32)
        if sink_N is not None:
            total += _exp(compute, sink - top)
        if compute is not None and compute.approx:
            powers *= vector_unit.RECIPROCAL.approx(total)
        else:
            powers /= total
        out[own] = (powers.reshape(-1, length) @ wide(v_KLH[head])).reshape(group, positions, width)
    return out


def _exp(compute: ComputeConfig | None, x: Floats) -> Floats:
    if compute is not None and compute.approx:
        return vector_unit.EXP.approx(x)
    return np.asarray(np.exp(x))

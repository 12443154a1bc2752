"""A chip with its ops as methods. The mesh adds collectives in a subclass."""

from .ops.activation import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    mish,
    relu,
    relu6,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from .ops.attention import attention, update_cache
from .ops.binary import (
    add,
    div,
    maximum,
    minimum,
    mul,
    remainder,
    rsub,
    squared_difference,
    sub,
)
from .ops.create import (
    arange,
    fill,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .ops.embedding import embedding
from .ops.gather import gather_elements, scatter_elements
from .ops.heads import concat_heads, create_heads
from .ops.logic import (
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    eq,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
    where,
)
from .ops.matmul import linear, matmul
from .ops.movement import concat, permute, reshape, slice, typecast
from .ops.norm import rms_norm
from .ops.order import argmax, sort, topk
from .ops.reduction import cumsum, max, mean, min, prod, std, sum, var
from .ops.rotary import rotary_embedding
from .ops.softmax import softmax
from .ops.unary import (
    abs,
    atan,
    ceil,
    clamp,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    frac,
    log,
    log1p,
    log2,
    log10,
    neg,
    pow,
    reciprocal,
    round,
    rsqrt,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    trunc,
)
from .state import ChipState


class Chip(ChipState):
    """One chip: `Chip.open("p300c").add(a, b)` is `add(chip, a, b)`."""

    elu = elu
    gelu = gelu
    hardsigmoid = hardsigmoid
    hardswish = hardswish
    leaky_relu = leaky_relu
    mish = mish
    relu = relu
    relu6 = relu6
    sigmoid = sigmoid
    silu = silu
    softplus = softplus
    tanh = tanh

    attention = attention
    update_cache = update_cache

    add = add
    div = div
    maximum = maximum
    minimum = minimum
    mul = mul
    remainder = remainder
    rsub = rsub
    squared_difference = squared_difference
    sub = sub

    arange = arange
    fill = fill
    full = full
    full_like = full_like
    ones = ones
    ones_like = ones_like
    zeros = zeros
    zeros_like = zeros_like

    embedding = embedding

    gather_elements = gather_elements
    scatter_elements = scatter_elements

    concat_heads = concat_heads
    create_heads = create_heads

    bitwise_and = bitwise_and
    bitwise_or = bitwise_or
    bitwise_xor = bitwise_xor
    eq = eq
    ge = ge
    gt = gt
    isfinite = isfinite
    isinf = isinf
    isnan = isnan
    le = le
    logical_and = logical_and
    logical_not = logical_not
    logical_or = logical_or
    logical_xor = logical_xor
    lt = lt
    ne = ne
    where = where

    linear = linear
    matmul = matmul

    concat = concat
    permute = permute
    reshape = reshape
    slice = slice
    typecast = typecast

    rms_norm = rms_norm

    argmax = argmax
    sort = sort
    topk = topk

    cumsum = cumsum
    max = max
    mean = mean
    min = min
    prod = prod
    std = std
    sum = sum
    var = var

    rotary_embedding = rotary_embedding

    softmax = softmax

    abs = abs
    atan = atan
    ceil = ceil
    clamp = clamp
    cos = cos
    cosh = cosh
    erf = erf
    erfc = erfc
    exp = exp
    exp2 = exp2
    expm1 = expm1
    floor = floor
    frac = frac
    log = log
    log10 = log10
    log1p = log1p
    log2 = log2
    neg = neg
    pow = pow
    reciprocal = reciprocal
    round = round
    rsqrt = rsqrt
    sign = sign
    sin = sin
    sinh = sinh
    sqrt = sqrt
    square = square
    tan = tan
    trunc = trunc

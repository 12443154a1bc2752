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
from .ops.attention import attention
from .ops.binary import add, div, maximum, minimum, mul, remainder, rsub, squared_difference, sub
from .ops.create import arange, fill, full, full_like, ones, ones_like, zeros, zeros_like
from .ops.distributed_norm import (
    layer_norm_post_all_gather,
    layer_norm_pre_all_gather,
    rms_norm_post_all_gather,
    rms_norm_pre_all_gather,
)
from .ops.embedding import embedding
from .ops.experts import experts
from .ops.gather import gather_elements, scatter_elements
from .ops.heads import (
    concat_heads,
    concat_heads_decode,
    create_heads,
    create_heads_decode,
    split_query_key_value,
)
from .ops.kv_cache import fill_cache, paged_fill_cache, paged_update_cache, update_cache
from .ops.layout import tilize, tilize_with_val_padding, to_layout, untilize
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
from .ops.memory import to_memory_config
from .ops.movement import permute, reshape, squeeze, transpose, typecast, unsqueeze, unsqueeze_to_4d
from .ops.norm import layer_norm, rms_norm
from .ops.order import argmax, sort, topk
from .ops.pieces import chunk, concat, slice, split, stack
from .ops.reduction import cumsum, max, mean, min, prod, std, sum, var
from .ops.repeat import expand, pad, repeat, repeat_interleave
from .ops.rotary import rotary_embedding, rotary_embedding_llama
from .ops.sdpa import chunked_scaled_dot_product_attention, scaled_dot_product_attention
from .ops.sdpa_decode import (
    paged_scaled_dot_product_attention_decode,
    scaled_dot_product_attention_decode,
)
from .ops.softmax import scale_mask_softmax, softmax
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
from .ops.upload import upload
from .ops.windowed_attention import windowed_attention
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
    windowed_attention = windowed_attention

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

    layer_norm_post_all_gather = layer_norm_post_all_gather
    layer_norm_pre_all_gather = layer_norm_pre_all_gather
    rms_norm_post_all_gather = rms_norm_post_all_gather
    rms_norm_pre_all_gather = rms_norm_pre_all_gather

    embedding = embedding

    experts = experts

    gather_elements = gather_elements
    scatter_elements = scatter_elements

    concat_heads = concat_heads
    concat_heads_decode = concat_heads_decode
    create_heads = create_heads
    create_heads_decode = create_heads_decode
    split_query_key_value = split_query_key_value

    fill_cache = fill_cache
    paged_fill_cache = paged_fill_cache
    paged_update_cache = paged_update_cache
    update_cache = update_cache

    upload = upload

    tilize = tilize
    tilize_with_val_padding = tilize_with_val_padding
    to_layout = to_layout
    untilize = untilize

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

    permute = permute
    reshape = reshape
    squeeze = squeeze
    to_memory_config = to_memory_config
    transpose = transpose
    typecast = typecast
    unsqueeze = unsqueeze
    unsqueeze_to_4d = unsqueeze_to_4d

    layer_norm = layer_norm
    rms_norm = rms_norm

    argmax = argmax
    sort = sort
    topk = topk

    chunk = chunk
    concat = concat
    slice = slice
    split = split
    stack = stack

    cumsum = cumsum
    max = max
    mean = mean
    min = min
    prod = prod
    std = std
    sum = sum
    var = var

    expand = expand
    pad = pad
    repeat = repeat
    repeat_interleave = repeat_interleave

    rotary_embedding = rotary_embedding
    rotary_embedding_llama = rotary_embedding_llama

    chunked_scaled_dot_product_attention = chunked_scaled_dot_product_attention
    scaled_dot_product_attention = scaled_dot_product_attention

    paged_scaled_dot_product_attention_decode = paged_scaled_dot_product_attention_decode
    scaled_dot_product_attention_decode = scaled_dot_product_attention_decode

    scale_mask_softmax = scale_mask_softmax
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

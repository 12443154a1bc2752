"""A chip with its ops as methods. The mesh adds collectives in a subclass."""

from .ops.attention import attention, update_cache
from .ops.eltwise import add, mul, silu
from .ops.embedding import embedding
from .ops.experts import experts
from .ops.heads import concat_heads, create_heads
from .ops.matmul import linear, matmul
from .ops.movement import concat, permute, reshape, slice, typecast
from .ops.norm import rms_norm
from .ops.reduction import argmax, topk
from .ops.rotary import rotary_embedding
from .ops.softmax import softmax
from .state import ChipState


class Chip(ChipState):
    """One chip: `Chip.open("p300c").add(a, b)` is `add(chip, a, b)`."""

    matmul = matmul
    linear = linear
    experts = experts
    embedding = embedding
    rms_norm = rms_norm
    rotary_embedding = rotary_embedding
    create_heads = create_heads
    attention = attention
    concat_heads = concat_heads
    update_cache = update_cache
    add = add
    mul = mul
    silu = silu
    softmax = softmax
    argmax = argmax
    topk = topk
    reshape = reshape
    permute = permute
    slice = slice
    concat = concat
    typecast = typecast

"""Between rows and tiles of 32x32.

What pads a tensor to whole tiles is not held on the host: no op of meshtwin reads it.
"""

import math

from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import TILE, Array, Layout, Shape, Tensor, TensorSpec
from .shared import like, move_plan


def _tilize_rule(padded: Shape | None, x: TensorSpec) -> Plan:
    if x.layout is not Layout.ROW_MAJOR:
        raise InvalidArgument(f"x is in {x.layout.value}s already (expected row-major)")
    whole = padded_shape(x.shape)
    if (x.shape if padded is None else padded) != whole:
        raise ShapeError(
            f"x {x.shape} as tiles of {padded or x.shape} (expected {whole}: the last two dims are "
            f"multiples of {TILE}; see to_layout)"
        )
    return _as_tiles_rule(x)


def padded_shape(shape: Shape) -> Shape:
    """The shape with its last two dims rounded up to whole tiles; a vector has one."""
    return shape[:-2] + tuple(-(-dim // TILE) * TILE for dim in shape[-2:])


def _as_tiles_rule(x: TensorSpec) -> Plan:
    return move_plan(like(x, x.shape, layout=Layout.TILE), x.padded_bytes)


def _untilize_rule(x: TensorSpec) -> Plan:
    if x.layout is not Layout.TILE:
        raise InvalidArgument("x is row-major already (expected tiles)")
    output = like(x, x.shape, layout=Layout.ROW_MAJOR)
    return move_plan(output, x.padded_bytes)


def _same(x: Array) -> Array:
    return x.copy()


def _same_padded(padded: Shape | None, x: Array) -> Array:
    return x.copy()


TILIZE = Op("tilize", _tilize_rule, _same_padded, any_dtype=True)
TILIZE_WITH_VAL_PADDING = Op("tilize_with_val_padding", _tilize_rule, _same_padded, any_dtype=True)
TO_TILES = Op("to_layout", _as_tiles_rule, _same, any_dtype=True)
UNTILIZE = Op("untilize", _untilize_rule, _same, any_dtype=True)


def tilize(chip: ChipState, x: Tensor) -> Tensor:
    """Lay a row-major tensor of whole tiles in tiles.

    Raises:
        ShapeError: one of the last two dims is no multiple of 32; `to_layout` takes any.
        InvalidArgument: x is in tiles already.
    """
    return chip.run(TILIZE, (x,), (None,))


def tilize_with_val_padding(
    chip: ChipState, x: Tensor, output_padded_shape: tuple[int, ...], pad_value: float = 0.0
) -> Tensor:
    """Lay a row-major tensor in tiles, padded to this shape; the logical shape stays.

    The value would lie in the padding, which no op reads: see the module.

    Raises:
        ShapeError: the shape is not x's, rounded up to whole tiles.
        InvalidArgument: x is in tiles already; the value is not finite.
    """
    if not math.isfinite(pad_value):
        raise InvalidArgument(
            f"pad_value (={pad_value}) must be finite", "tilize_with_val_padding", chip.rank
        )
    return chip.run(TILIZE_WITH_VAL_PADDING, (x,), (tuple(output_padded_shape),))


def untilize(chip: ChipState, x: Tensor) -> Tensor:
    """Lay a tensor that is in tiles row after row, without padding.

    Raises:
        InvalidArgument: x is row-major already.
    """
    return chip.run(UNTILIZE, (x,))


def to_layout(chip: ChipState, x: Tensor, layout: Layout) -> Tensor:
    """The tensor in a layout: x itself if it lies so, else a copy (padded to whole tiles)."""
    if x.layout is layout:
        return x
    return chip.run(TO_TILES if layout is Layout.TILE else UNTILIZE, (x,))

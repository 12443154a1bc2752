"""Weights that have shapes and no values: where a plan's loader takes them from."""

from .config import DecoderConfig
from .loader import Words
from .shapes import Shapes, weight_shapes


class ShapesOnly:
    """The weights of a config by name and shape; nobody may read them."""

    def __init__(self, config: DecoderConfig) -> None:
        self._shapes: Shapes = weight_shapes(config)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a whole weight."""
        return self._shapes[name]

    def dtype(self, name: str) -> str:
        """How it would be stored."""
        return "BF16"

    def read(self, name: str, rows: slice | None = None, cols: slice | None = None) -> Words:
        """Nothing: a plan reads no weight."""
        raise AssertionError(f"a plan reads {name}")

    read_float32 = read

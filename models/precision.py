"""Which number format each kind of weight has on the chips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..chip.dtype import DType
from ..chip.errors import DTypeError, did_you_mean, nearest_name


@dataclass(frozen=True, slots=True)
class Precision:
    """The formats of a model.

    Attributes:
        activations: of everything that flows, and of norms and rotary tables.
        attention: of q, k, v and o weights.
        gate_up: of the MLP's (or experts') gate and up weights; down: of its down weights.
        head: of the LM head; a token table that serves as head is kept a second time if this is not
            the format of the activations.
        kv_cache: of keys and values.
    """

    name: str
    activations: DType
    attention: DType
    gate_up: DType
    down: DType
    head: DType
    kv_cache: DType

    @property
    def checkpoint_dtype(self) -> str:
        """The format of the checkpoint that serves it best: float32 or bfloat16."""
        return "float32" if self.activations is DType.FLOAT32 else "bfloat16"

    @classmethod
    def uniform(cls, dtype: DType) -> "Precision":
        """One format for everything."""
        return cls(dtype.label, dtype, dtype, dtype, dtype, dtype, dtype)

    @classmethod
    def parse(cls, name: "str | DType | Precision") -> "Precision":
        """A precision by its name: one of PRECISIONS, or a float format for everything.

        A block format (bfp8_b, bfp4_b) is of the weights: activations and cache are bfloat16.

        Raises:
            DTypeError: no such name; the nearest one is named.
        """
        if isinstance(name, Precision):
            return name
        if isinstance(name, DType):
            return _of_weights(name)
        if name.lower() in PRECISIONS:
            return PRECISIONS[name.lower()]
        try:
            return _of_weights(DType.parse(name))
        except DTypeError:
            known = [*PRECISIONS, *(dtype.label for dtype in DType if dtype.is_float)]
            hint = did_you_mean(nearest_name(name.lower(), known))
            raise DTypeError(
                f"unknown precision {name!r}{hint} Known: {', '.join(known)}."
            ) from None


def _of_weights(dtype: DType) -> Precision:
    if not dtype.is_float:
        raise DTypeError(f"a model in {dtype} (expected a float format)")
    if dtype in (DType.FLOAT32, DType.BFLOAT16):
        return Precision.uniform(dtype)
    flows = DType.BFLOAT16
    return Precision(dtype.label, flows, dtype, dtype, dtype, dtype, flows)


PRECISIONS: Final[Mapping[str, Precision]] = {
    precision.name: precision
    for precision in (
        Precision(
            "performance",
            activations=DType.BFLOAT16,
            attention=DType.BFP8_B,
            gate_up=DType.BFP4_B,
            down=DType.BFP8_B,
            head=DType.BFP8_B,
            kv_cache=DType.BFP8_B,
        ),
        Precision(
            "accuracy",
            activations=DType.BFLOAT16,
            attention=DType.BFLOAT16,
            gate_up=DType.BFP8_B,
            down=DType.BFP8_B,
            head=DType.BFP8_B,
            kv_cache=DType.BFP8_B,
        ),
    )
}
"""As tt-transformers runs most models: "performance" has bfp4 in gate and up and bfp8 elsewhere;
"accuracy" bfp8 in the MLP and bfloat16 attention (models/tt_transformers/PERF.md of tt-metal)."""

"""Running a layer, or the whole decoder, of a checkpoint on every chip of a box, without Ray."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, settings

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import Tensor
from meshtwin.mesh.program import MeshChip
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.config import DecoderConfig
from meshtwin.models.shapes import open_folder

from ..spmd import run_spmd
from .tiny import write_tiny

Array = npt.NDArray[Any]
Program = Callable[[DecoderBuilder], Any]

BOXES = {1: "p150", 2: "p300", 4: "quietbox2", 8: "loudbox", 32: "galaxy"}
"""A box of each number of chips."""

broad = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Few but broad examples: each starts the chips of a box or two."""


class Model:
    """A random checkpoint of a config in a folder that lasts as long as the object."""

    def __init__(self, config: DecoderConfig, stored: str = "F32", seed: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = write_tiny(Path(self._folder.name), config, stored, seed)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def run(self, num_chips: int, dtype: DType, program: Program) -> list[Any]:
        """What `program(the chip's builder)` gives, by rank; a tensor as numpy."""
        config, _ = open_folder(self.folder)

        def on_chip(chip: MeshChip) -> Any:
            with open_folder(self.folder)[1] as checkpoint:
                result = program(DecoderBuilder(chip, checkpoint, config, dtype))
            return result.to_numpy() if isinstance(result, Tensor) else result

        return run_spmd(BOXES[num_chips], on_chip)


def same_on_all(results: list[Any]) -> Array:
    """The result of chip 0, which every other chip must have, bit by bit."""
    for rank, result in enumerate(results):
        np.testing.assert_array_equal(result, results[0], err_msg=f"chip {rank}")
    first: Array = results[0]
    return first


def assert_agree(sharded: Array, whole: Array, num_chips: int, dtype: DType) -> None:
    """Equal to the rounding of the sums that sharding splits, relative to the largest value.

    float32: the order of some hundred additions differs, each good to 2^-24. bfloat16: each chip's
    part, and each of its additions on the way round, is rounded to 8 bits: 2^-9 of the running
    sum, which may be somewhat larger than the largest result.
    """
    size = float(np.abs(whole).max(initial=1e-3))
    unit = 2.0**-8 * (num_chips + 1) if dtype is DType.BFLOAT16 else 2.0**-17
    np.testing.assert_allclose(sharded, whole, rtol=0, atol=unit * size)


def activations(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random numbers as a norm leaves them: about 1 in size."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def contribution(program: Program) -> Program:
    """The program with all_reduce left out: what each chip adds to the sum."""

    def alone(builder: DecoderBuilder) -> Any:
        vars(builder.chip)["all_reduce"] = lambda x: x
        return program(builder)

    return alone

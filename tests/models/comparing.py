"""Comparing a model with planted bugs, on the chips of a box in threads, without Ray."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import Tensor
from meshtwin.mesh.compare import (
    beside_run,
    beside_shadows,
    beside_tape,
    comparison_of,
    lone_chip,
    record_alone,
)
from meshtwin.mesh.comparison import Comparison
from meshtwin.mesh.program import MeshChip
from meshtwin.models import programs
from meshtwin.models.builder import load_decoder
from meshtwin.models.decoder import Decoder
from meshtwin.models.layers.block import Block
from meshtwin.models.shapes import open_folder

from ..spmd import run_spmd
from .sharded import BOXES

Plant = Callable[[MeshChip, Decoder], Decoder]
"""What makes a decoder wrong, on the chips where it should be."""


def nothing(chip: MeshChip, decoder: Decoder) -> Decoder:
    """No bug at all."""
    return decoder


def forward(
    chip: MeshChip, folder: Path, ids: list[int], dtype: DType, plant: Plant = nothing
) -> None:
    """Load a model, spoil it, and compute the logits of all positions."""
    decoder = plant(chip, load_decoder(chip, folder, open_folder(folder)[0], dtype))
    programs.all_logits(chip, decoder, ids)


def compared(
    num_chips: int,
    folder: Path,
    ids: list[int],
    plant: Plant = nothing,
    against: str = "one chip",
    dtype: DType = DType.BFLOAT16,
) -> Comparison:
    """A model with a planted bug beside the reference; against: one chip, good weights, float32."""

    def program(chip: MeshChip) -> None:
        forward(chip, folder, ids, dtype, plant)

    def good(chip: MeshChip) -> None:
        forward(chip, folder, ids, dtype)

    box = BOXES[num_chips]
    if against == "float32":
        return comparison_of(box, against, run_spmd(box, lambda c: beside_shadows(c, program, ())))
    if against == "good weights":
        runs = run_spmd(box, lambda chip: beside_run(chip, good, (), program, ()))
        return comparison_of(box, against, runs)
    with tempfile.TemporaryDirectory() as scratch:
        tape = record_alone(lone_chip("p300c"), good, (), Path(scratch) / "tape")
        runs = run_spmd(box, lambda chip: beside_tape(chip, tape, program, ()))
        return comparison_of(box, against, runs, tape)


def with_layer(decoder: Decoder, layer: int, change: Callable[[Block], Block]) -> Decoder:
    """The decoder with one layer changed."""
    blocks = list(decoder.blocks)
    blocks[layer] = change(blocks[layer])
    return replace(decoder, blocks=tuple(blocks))


def with_weight(block: Block, name: str, weight: Tensor) -> Block:
    """A layer with another weight: "attention.output_weight", "mlp.gate_FcD", ..."""
    part, _, field = name.partition(".")
    changes: dict[str, Any] = {field: weight}
    return replace(block, **{part: replace(getattr(block, part), **changes)})


def of_another_layer(chip_rank: int, layer: int, name: str, other: int) -> Plant:
    """On one chip, a layer has the weight of another layer."""

    def plant(chip: MeshChip, decoder: Decoder) -> Decoder:
        if chip.rank != chip_rank:
            return decoder
        part, _, field = name.partition(".")
        weight = getattr(getattr(decoder.blocks[other], part), field)
        return with_layer(decoder, layer, lambda block: with_weight(block, name, weight))

    return plant


def of_another_chip(chip_rank: int, layer: int, name: str, other: int) -> Plant:
    """On one chip, a layer has the part of a weight that is another chip's."""

    def plant(chip: MeshChip, decoder: Decoder) -> Decoder:
        part, _, field = name.partition(".")
        own = getattr(getattr(decoder.blocks[layer], part), field)
        chip.watcher, watcher = None, chip.watcher  # the broadcast is none of the program's ops
        theirs = chip.broadcast(own, other)
        chip.watcher = watcher
        if chip.rank != chip_rank:
            return decoder
        return with_layer(decoder, layer, lambda block: with_weight(block, name, theirs))

    return plant


def scaled(chip_rank: int, layer: int, name: str, factor: float) -> Plant:
    """On one chip, a layer's weight is too large by a factor."""

    def plant(chip: MeshChip, decoder: Decoder) -> Decoder:
        if chip.rank != chip_rank:
            return decoder
        part, _, field = name.partition(".")
        own = getattr(getattr(decoder.blocks[layer], part), field)
        wrong = chip.tensor(own.to_numpy() * np.float32(factor), own.dtype)
        return with_layer(decoder, layer, lambda block: with_weight(block, name, wrong))

    return plant

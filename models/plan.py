"""Planning a model on a mesh: the same decoder on tensors without values, one chip for all.

The chips of a tensor-parallel group do the same work at the same time, so one of them is run;
replicas of a data-parallel plan do not talk to each other. No actors, no numbers: shapes, simulated
time and memory only.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.record import OpRecord
from ..chip.units import PS_PER_S
from ..fabric.submesh import shapes, submesh
from ..fabric.topology import Box
from ..mesh.plan import plan_chip
from ..mesh.scenario import Scenario
from .builder import DecoderBuilder
from .config import DecoderConfig
from .decoder import Decoder
from .errors import PlanError
from .precision import Precision
from .shapes_only import ShapesOnly


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is planned: a model on a box.

    Attributes:
        mesh: rows and columns of one replica's chips, within the box.
        dp: replicas; each has its own chips and its own users.
        batch: users of all replicas together.
        prompt, output: tokens of each user.
        scenario: what is changed of the box; None: nothing.
    """

    config: DecoderConfig
    box: Box
    mesh: tuple[int, int]
    dp: int
    batch: int
    prompt: int
    output: int
    precision: Precision
    scenario: Scenario | None = None

    def __post_init__(self) -> None:
        for name in ("dp", "batch", "prompt", "output"):
            if getattr(self, name) < 1:
                raise PlanError(f"{name} (={getattr(self, name)}) must be >= 1")
        if self.scenario is not None and self.scenario.base != self.box:
            raise PlanError(f"the scenario is of {self.scenario.base.name}, not of {self.box.name}")
        if self.tp * self.dp > self.box.num_chips:
            raise PlanError(
                f"tp {self.tp} x dp {self.dp} needs {self.tp * self.dp} chips, and {self.box.name} "
                f"has {self.box.num_chips}: the largest dp is {self.box.num_chips // self.tp}"
            )
        length = self.prompt + self.output
        if length > self.config.max_position_embeddings:
            raise PlanError(
                f"prompt {self.prompt} + output {self.output} are {length} tokens, and the model's "
                f"context is {self.config.max_position_embeddings}"
            )

    @property
    def tp(self) -> int:
        """Chips of one replica."""
        return self.mesh[0] * self.mesh[1]

    @property
    def batch_of_replica(self) -> int:
        """Users of the fullest replica."""
        return -(-self.batch // self.dp)


@dataclass(frozen=True, slots=True)
class Phase:
    """A prefill or a decode step on one chip: the ops in order, and how long all of it takes."""

    records: tuple[OpRecord, ...]
    sim_ps: int

    @property
    def sim_s(self) -> float:
        """Simulated seconds."""
        return self.sim_ps / PS_PER_S


class PlannedReplica:
    """One chip of a replica with its part of the model, in plan mode.

    Raises:
        OutOfMemory: weights or cache do not fit the chip.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        scenario = deployment.scenario or Scenario.of(deployment.box)
        part = scenario.part(deployment.mesh, deployment.dp)
        self.chip = plan_chip(part.base, scenario=part)
        source = ShapesOnly(deployment.config)
        builder = DecoderBuilder(self.chip, source, deployment.config, deployment.precision)
        self.decoder: Decoder = builder.decoder()
        self.weight_bytes = self.chip.dram.used_bytes

    def prefill(self) -> Phase:
        """One user's prompt, in one pass."""
        length = self.deployment.prompt
        self.decoder.start(self.chip, 1, length)
        return self._run(np.zeros((1, length), np.int32))

    def decode(self, positions: int) -> Phase:
        """One step of all users of the replica, with `positions` tokens in the cache of each."""
        deployment = self.deployment
        room = deployment.prompt + deployment.output
        self.decoder.start(self.chip, deployment.batch_of_replica, room)
        assert self.decoder.cache is not None
        self.decoder.cache.lengths = [positions] * deployment.batch_of_replica
        return self._run(np.zeros((deployment.batch_of_replica, 1), np.int32))

    def _run(self, ids_BS: NDArray[np.int32]) -> Phase:
        chip = self.chip
        chip.recorder.clear()
        begin_ps = chip.clock.now_ps
        self.decoder.forward(chip, ids_BS)
        return Phase(tuple(chip.recorder.records()), chip.clock.now_ps - begin_ps)


def fitting_mesh(box: Box, tp: int) -> tuple[int, int]:
    """The mesh of `tp` chips in a box: the one on which an all_reduce is the quickest.

    Raises:
        PlanError: no mesh of so many chips fits; names those that do.
    """
    found = shapes(box, tp)
    if not found:
        legal = [n for n in range(1, box.num_chips + 1) if shapes(box, n)]
        raise PlanError(
            f"no mesh of {tp} chips fits into {box.name} ({box.shape[0]}x{box.shape[1]}); tp can "
            f"be {', '.join(map(str, legal))}"
        )
    return min(found, key=lambda shape: _all_reduce_ps(submesh(box, shape)))


def _all_reduce_ps(box: Box) -> int:
    """Simulated time of an all_reduce of a decode step's size on all chips of a box."""
    chip = plan_chip(box)
    chip.all_reduce(chip.empty((1, 32, 8192)))
    return chip.clock.now_ps


def total_ps(records: Iterable[OpRecord]) -> int:
    """The sum of the ops' simulated times."""
    return sum(record.sim_duration_ps for record in records)

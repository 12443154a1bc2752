"""Planning a model on a mesh: the same decoder on tensors without values, one chip for all.

The chips of a tensor-parallel group do the same work, so one of them is run: chip 0, whose records
are those of chip 0 in a run. Replicas of a data-parallel plan do not talk to each other. No actors,
no numbers: shapes, simulated time and memory only.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..chip.cost import MODEL_STACK, check_stack
from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..fabric.submesh import shapes, submesh
from ..fabric.topology import Box, load_box
from ..mesh.plan import plan_chip
from ..mesh.scenario import Scenario
from .builder import DecoderBuilder
from .catalogue import model_shape
from .config import DecoderConfig
from .decoder import Decoder
from .errors import PlanError
from .plan_phase import Phase, PlannedMemory
from .precision import Precision
from .programs import best_of_all
from .shapes_only import ShapesOnly


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is planned: a model on a box.

    Attributes:
        mesh: rows and columns of one replica's chips, within the box.
        dp: replicas; each has its own chips and its own users.
        batch: users of all replicas together.
        prompt, output: tokens of each user.
        stack: the software that runs the ops, see `chip.cost.stacks`.
        scenario: what is changed of the box, whatever its stack; None: nothing.
    """

    config: DecoderConfig
    box: Box
    mesh: tuple[int, int]
    dp: int
    batch: int
    prompt: int
    output: int
    precision: Precision
    stack: str = MODEL_STACK
    scenario: Scenario | None = None

    def __post_init__(self) -> None:
        check_stack(self.stack)
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
        if self.batch < self.dp:
            raise PlanError(
                f"batch {self.batch} leaves {self.dp - self.batch} of dp {self.dp} replicas idle: "
                f"the nearest batch is {self.dp}, or the largest dp {self.batch}"
            )
        length = self.prompt + self.output
        if length > self.config.max_position_embeddings:
            raise PlanError(
                f"prompt {self.prompt} + output {self.output} are {length} tokens, and the model's "
                f"context is {self.config.max_position_embeddings}: {self._largest_legal()}"
            )

    @classmethod
    def of(
        cls,
        model: str,
        box: Box | str = "quietbox2",
        tp: int | None = None,
        dp: int = 1,
        batch: int | None = None,
        prompt: int = 128,
        output: int = 128,
        precision: Precision | DType | str = "performance",
        stack: str = MODEL_STACK,
        scenario: Scenario | None = None,
    ) -> Self:
        """A deployment in the words of people; what is left out has a value that works.

        Args:
            model: see `catalogue.model_shape`.
            tp: chips of a replica; None: the box's chips dealt out to `dp` replicas.
            batch: users of all replicas; None: one for each replica.
        Raises:
            PlanError: it cannot be; says what can.
            UnknownShape, UnknownBox, DTypeError, ...: there is no such model, box or precision.
        """
        found = load_box(box) if isinstance(box, str) else box
        mesh = fitting_mesh(found, tp or max(1, found.num_chips // max(1, dp)))
        users = dp if batch is None else batch
        parsed = Precision.parse(precision)
        config = model_shape(model)
        return cls(config, found, mesh, dp, users, prompt, output, parsed, stack, scenario)

    @property
    def conditions(self) -> Scenario:
        """The box with what is changed of it, under the stack."""
        scenario = self.scenario or Scenario.of(self.box)
        return dataclasses.replace(scenario, stack=self.stack)

    @property
    def tp(self) -> int:
        """Chips of one replica."""
        return self.mesh[0] * self.mesh[1]

    def _largest_legal(self) -> str:
        room = self.config.max_position_embeddings - self.output
        if room < 1:
            return f"the largest output is {self.config.max_position_embeddings - 1}"
        return f"the largest prompt before {self.output} tokens of output is {room}"

    @property
    def batch_of_replica(self) -> int:
        """Users of the fullest replica."""
        return -(-self.batch // self.dp)

    @property
    def positions(self) -> tuple[int, int, int]:
        """Tokens in the cache of each user at the first, the middle and the last decode step.

        The first output token is the prefill's. Of one output token there is no step; what is
        given then is the step that would follow.
        """
        last = self.prompt + max(0, self.output - 2)
        return self.prompt, min(self.prompt + self.output // 2, last), last


class PlannedReplica:
    """One chip of a replica with its part of the model, in plan mode.

    Raises:
        OutOfMemory: weights or cache do not fit the chip.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        part = deployment.conditions.part(deployment.mesh, deployment.dp)
        self.chip = plan_chip(part.base, scenario=part)
        source = ShapesOnly(deployment.config)
        builder = DecoderBuilder(self.chip, source, deployment.config, deployment.precision)
        self.decoder: Decoder = builder.decoder()
        self.weight_bytes = self.chip.dram.used_bytes
        self.cache_bytes = 0

    def prefill(self) -> Phase:
        """One user's prompt in one pass."""
        self._start(0)
        prompt_S = np.zeros(self.deployment.prompt, np.int32)
        return self._run(lambda: self.decoder.prefill(self.chip, prompt_S))

    def decode(self, positions: int) -> Phase:
        """One step of all users of the replica, with `positions` tokens in the cache of each."""
        self._start(positions)
        ids_B = np.zeros(self.deployment.batch_of_replica, np.int32)
        return self._run(lambda: self.decoder.decode(self.chip, ids_B))

    def memory(self) -> PlannedMemory:
        """What it took of the chip's memory so far."""
        dram, l1 = self.chip.dram, self.chip.l1
        circular_bytes, op = self.chip.circular_peak
        return PlannedMemory(
            dram_capacity_bytes=dram.capacity_bytes,
            weight_bytes=self.weight_bytes,
            cache_bytes=self.cache_bytes,
            activation_bytes=dram.peak_bytes - self.weight_bytes - self.cache_bytes,
            l1_capacity_bytes=l1.capacity_bytes // l1.num_banks,
            l1_tensor_bytes=l1.peak_bytes // l1.num_banks,
            l1_circular_bytes=circular_bytes,
            l1_op=op,
        )

    def _start(self, positions: int) -> None:
        """Make room for all users, with so many tokens in the cache of each."""
        users = self.deployment.batch_of_replica
        self.decoder.start(self.chip, users, self.deployment.prompt + self.deployment.output)
        assert self.decoder.cache is not None
        self.decoder.cache.lengths = [positions] * users
        self.cache_bytes = self.chip.dram.used_bytes - self.weight_bytes

    def _run(self, forward: Callable[[], Tensor]) -> Phase:
        """A forward pass and the choice of the next tokens, as a greedy generation does it."""
        chip = self.chip
        chip.recorder.clear()
        begin_ps = chip.clock.now_ps
        best_of_all(chip, forward(), 1)
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
    """Simulated time of all_reduces of a decode step's size on all chips of a box."""
    chip = plan_chip(box)
    x = chip.empty((1, 32, 8192))
    for _ in range(2):  # the second one begins when the last chip is done with the first
        chip.all_reduce(x)
    return chip.clock.now_ps

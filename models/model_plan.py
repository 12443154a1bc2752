"""A model planned on a box: what it reaches, and what it takes.

This is the one place that says what the times of a prefill and of a decode step come to: commands,
sweeps and searches read it here.
"""

from dataclasses import dataclass

from ..chip.record import OpRecord
from ..chip.units import PS_PER_S
from ..fabric.topology import Box
from .plan import Deployment, PlannedReplica
from .plan_ops import Peaks
from .plan_phase import Phase, PlannedMemory


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One replica of a deployment; the others are like it. All times and rates are simulated.

    Attributes:
        prefill: of one user's prompt, with the choice of the first token.
        decode: a step of all users of the replica, in the middle of the output.
        sim_first_step_ps, sim_last_step_ps: of the first and the last decode step.
        box: the chips of a replica.
        peaks: what a chip could do at best.
    """

    deployment: Deployment
    box: Box
    prefill: Phase
    decode: Phase
    sim_first_step_ps: int
    sim_last_step_ps: int
    memory: PlannedMemory
    peaks: Peaks

    @property
    def sim_ttft_s(self) -> float:
        """From a user's prompt to the first token, if no other user waits."""
        return self.prefill.sim_s

    @property
    def sim_prefill_all_s(self) -> float:
        """The prefills of all users of a replica, which queue: TTFT of the last of them."""
        return self.prefill.sim_s * self.deployment.batch_of_replica

    @property
    def sim_tokens_per_s_per_user(self) -> float:
        """Tokens of each user while decoding, in the middle of the output."""
        return rate_per_s(self.decode.sim_ps)

    @property
    def sim_tokens_per_s(self) -> float:
        """Tokens of all users of all replicas while decoding, in the middle of the output."""
        return self.sim_tokens_per_s_per_user * self.deployment.batch

    @property
    def records(self) -> tuple[OpRecord, ...]:
        """What chip 0 does in the prefill, and then in the decode step, as if it came next."""
        shift_ps = self.prefill.records[-1].sim_end_ps - self.decode.records[0].sim_start_ps
        return self.prefill.records + tuple(
            record._replace(sim_start_ps=record.sim_start_ps + shift_ps)
            for record in self.decode.records
        )


def rate_per_s(sim_ps: int) -> float:
    """How often a second what takes so long can be done."""
    return PS_PER_S / sim_ps


def plan_model(deployment: Deployment) -> ModelPlan:
    """Plan a deployment: a prefill, then the first decode step, the one in the middle, the last.

    Raises:
        OutOfMemory: it does not fit the chips; see `plan_fit.nearest_fits`.
    """
    replica = PlannedReplica(deployment)
    prefill = replica.prefill()
    first, middle, last = map(replica.decode, deployment.positions)
    return ModelPlan(
        deployment=deployment,
        box=replica.chip.box,
        prefill=prefill,
        decode=middle,
        sim_first_step_ps=first.sim_ps,
        sim_last_step_ps=last.sim_ps,
        memory=replica.memory(),
        peaks=Peaks.of(replica.chip),
    )

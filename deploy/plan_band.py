"""Between what a plan's times may lie: its bands, and why they are as wide as they are."""

from dataclasses import dataclass

from ..chip.spec import load_product
from ..models.model_plan import ModelPlan
from .calibration.band import Band, band
from .calibration.features import features


@dataclass(frozen=True, slots=True)
class PlanBand:
    """Bands of the time to the first token and of a decode step, as factors of what is planned."""

    ttft: Band
    decode: Band

    def of_ttft(self, value: float) -> tuple[float, float]:
        """Between what a time to the first token lies that is planned as `value`."""
        return value * self.ttft.low, value * self.ttft.high

    def of_step(self, value: float) -> tuple[float, float]:
        """The same of the time of a decode step."""
        return value * self.decode.low, value * self.decode.high

    def of_rate(self, value: float) -> tuple[float, float]:
        """The same of a rate of decoding: the longest step gives the lowest."""
        return value / self.decode.high, value / self.decode.low

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the plan is outside of what was measured, each reason once."""
        return tuple(dict.fromkeys(self.decode.notes + self.ttft.notes))


def band_of(plan: ModelPlan) -> PlanBand:
    """The bands of a plan, from rows of its stack; wider where the plan is not like any row."""
    deployment = plan.deployment
    arch = load_product(deployment.box.product).arch
    found = features(deployment, plan.memory.weight_bytes)
    changed = () if deployment.scenario is None else deployment.scenario.changes
    names = tuple(name for name, _ in changed)
    return PlanBand(
        band("ttft", deployment.stack, arch, found, names),
        band("decode", deployment.stack, arch, found, names),
    )

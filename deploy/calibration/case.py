"""A measured row beside the model: what the chip does in it, and what the model says it takes.

Every family of rows (matmul, DRAM, decode, ...) turns its rows into cases with the product's own
code: ops run on a chip in plan mode, and their works are kept. A case can then be timed again under
other constants without running anything.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...chip.cost import CostModel, Work
from ...chip.record import OpRecord
from ...chip.spec import ChipSpec
from ...chip.units import PS_PER_US
from .place import SHIPPED, Values


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One measured row, ready to be timed.

    Attributes:
        group: what is left out together when the fit is judged on rows that it has not seen.
        works: the ops, each with how often it runs.
        fixed_us: what no free constant bears on (collectives; transfers of the NoC).
        is_traced: its ops are replayed from a trace, or dispatched one by one.
        is_device: what was measured is the device's own time of its kernels: no gaps, no host.
        added_ms: the constant of the stack, in ms, that a served request adds; or "".
        features: what a band may depend on, by name: see band.py.
        note: why the model is expected to miss it; such a row is shown and not fitted.
    """

    group: str
    label: str
    spec: ChipSpec
    stack: str
    measured_us: float
    works: tuple[tuple[Work, int], ...] = ()
    fixed_us: float = 0.0
    is_traced: bool = True
    is_device: bool = False
    added_ms: str = ""
    features: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def predict_us(self, model: CostModel) -> float:
        """What a model of the case's chip and stack says, in microseconds."""
        ps = sum(model.duration(work, self.is_traced).duration_ps * n for work, n in self.works)
        us = self.fixed_us + ps / PS_PER_US
        if self.is_device:
            us -= (model.gap_us + model.value["op_start_us"]) * sum(n for _, n in self.works)
        if self.added_ms:
            us += 1000 * model.value[self.added_ms]
        return us


@dataclass(frozen=True, slots=True)
class Residual:
    """A case and what the model says of it."""

    case: Case
    predicted_us: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one: negative where the model is too fast."""
        return self.predicted_us / self.case.measured_us - 1


def residuals(cases: Iterable[Case], values: Values = SHIPPED) -> list[Residual]:
    """Each case beside its predicted time, with some constants replaced."""
    models: dict[tuple[str, str], CostModel] = {}
    found = []
    for case in cases:
        key = case.spec.name, case.stack
        if key not in models:
            arch = case.spec.arch
            models[key] = CostModel(
                case.spec,
                case.stack,
                {p.name: value for p, value in values.items() if p.bears_on(arch, case.stack)},
            )
        found.append(Residual(case, case.predict_us(models[key])))
    return found


def counted(
    ops: Iterable[tuple[OpRecord, Work | None]],
) -> tuple[tuple[tuple[Work, int], ...], float]:
    """The works of recorded ops with their counts, and the time in us of those without one."""
    counts: Counter[Work] = Counter()
    fixed_ps = 0
    for record, work in ops:
        if work is None:
            fixed_ps += record.sim_duration_ps
        else:
            counts[work] += 1
    return tuple(counts.items()), fixed_ps / PS_PER_US

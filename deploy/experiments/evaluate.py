"""One point of a plan: the seam between the experiments and the planner.

Nothing else in this folder knows what a model or a box is.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ...chip.cost import check_stack
from ...chip.errors import CircularBufferClash, OutOfMemory, did_you_mean, nearest_name
from ...chip.record import Bound
from ...fabric.topology import load_box

if TYPE_CHECKING:
    from ...models.plan import Deployment

if TYPE_CHECKING:
    from ...models.plan import Deployment
    from ...models.plan_phase import PlannedMemory

SHARES: Final[tuple[Bound, ...]] = ("compute", "dram", "fabric", "dispatch")
BANDED: Final = ("sim_ttft_ms", "sim_step_ms", "sim_tokens_per_s_per_user", "sim_tokens_per_s")
"""What has a band: columns *_low and *_high."""
RESULTS: Final = (
    "chips", "users", "mesh", "fits", "why_not", "dram_bytes", "dram_free_bytes", "sim_ttft_ms",
    "sim_step_ms", "sim_tokens_per_s_per_user", "sim_tokens_per_s", "sim_tokens_per_s_per_chip",
    *(f"{name}_{end}" for name in BANDED for end in ("low", "high")),
    *(f"share_{bound}" for bound in SHARES),
)  # fmt: skip
"""The names of what `evaluate` finds."""


def evaluate(point: Mapping[str, Any]) -> dict[str, Any]:
    """What a deployment reaches, simulated; see VALUES for what a point may hold.

    `model` is needed; the others have the defaults of `Deployment.of`. `batch_per_chip` may stand
    for `batch`. `set` is a table of changed constants ({"link.gbps": 200}, see `meshtwin
    constants`); a value named "set.link.gbps" is one of them. The mesh of a replica is that of the
    box as it is.

    Returns:
        chips, users, mesh; fits, why_not, dram_bytes (most at once, of one chip), dram_free_bytes
        (what is then left); sim_ttft_ms;
        sim_step_ms; sim_tokens_per_s_per_user, sim_tokens_per_s and sim_tokens_per_s_per_chip of
        decoding, in the middle of the output; their bands (*_low and *_high, see
        `plan_band`); share_* of a decode step's time. Where the model
        does not fit, `fits` is False, and only the first seven are there: dram_bytes is what would
        be taken if there were room, dram_free_bytes below zero what is missing.
    Raises:
        MeshtwinError: there is no such deployment.
    """
    from ...models.model_plan import plan_model
    from ..plan_band import band_of

    deployment = _deployment_of(point)
    num_chips = deployment.tp * deployment.dp
    found: dict[str, Any] = {
        "chips": num_chips,
        "users": deployment.batch,
        "mesh": "x".join(map(str, deployment.mesh)),
    }
    try:
        plan = plan_model(deployment)
    except OutOfMemory as error:
        return {**found, "fits": False, "why_not": str(error), **_missing(deployment)}
    memory, band = plan.memory, band_of(plan)
    return {
        **found,
        "fits": True,
        "why_not": "",
        **_dram(memory),
        "sim_ttft_ms": plan.sim_ttft_s * 1e3,
        "sim_step_ms": plan.decode.sim_s * 1e3,
        "sim_tokens_per_s_per_user": plan.sim_tokens_per_s_per_user,
        "sim_tokens_per_s": plan.sim_tokens_per_s,
        "sim_tokens_per_s_per_chip": plan.sim_tokens_per_s / num_chips,
        **_ends("sim_ttft_ms", band.of_ttft(plan.sim_ttft_s * 1e3)),
        **_ends("sim_step_ms", band.of_step(plan.decode.sim_s * 1e3)),
        **_ends("sim_tokens_per_s_per_user", band.of_rate(plan.sim_tokens_per_s_per_user)),
        **_ends("sim_tokens_per_s", band.of_rate(plan.sim_tokens_per_s)),
        **{f"share_{bound}": plan.decode.shares[bound] for bound in SHARES},
    }


def _dram(memory: "PlannedMemory") -> dict[str, int]:
    free_bytes = memory.dram_capacity_bytes - memory.dram_peak_bytes
    return {"dram_bytes": memory.dram_peak_bytes, "dram_free_bytes": free_bytes}


def _missing(deployment: "Deployment") -> dict[str, int]:
    """What a deployment would take that does not fit; empty where L1 has no room either."""
    from ...models.plan_fit import needed_memory

    try:
        return _dram(needed_memory(deployment))
    except (OutOfMemory, CircularBufferClash):
        return {}


def _deployment_of(point: Mapping[str, Any]) -> "Deployment":
    from ...mesh.scenario import Scenario
    from ...models.plan import Deployment

    values = {name: point[name] for name in VALUES if name in point and name != "set"}
    batch_per_chip = values.pop("batch_per_chip", None)
    deployment = Deployment.of(**values)
    if batch_per_chip is not None:
        users = batch_per_chip * deployment.tp * deployment.dp
        deployment = dataclasses.replace(deployment, batch=users)
    changes = _changes_of(point)
    if changes:
        scenario = Scenario.of(deployment.box, changes.items(), deployment.stack)
        deployment = dataclasses.replace(deployment, scenario=scenario)
    return deployment


def _ends(name: str, ends: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _changes_of(point: Mapping[str, Any]) -> dict[str, float | str]:
    single = {n.removeprefix("set."): value for n, value in point.items() if is_change(n)}
    return {**point.get("set", {}), **single}


def check(name: str, value: Any) -> None:
    """Is this a value that `evaluate` can take?

    Raises:
        ValueError or MeshtwinError: it is not; the nearest legal one is named.
    """
    if is_change(name):
        name, value = "set", {name.removeprefix("set."): value}
    if name not in VALUES:
        hint = did_you_mean(nearest_name(name, list(VALUES)))
        raise ValueError(f"the planner takes no {name!r}{hint} Known: {', '.join(VALUES)}.")
    VALUES[name](name, value)


def is_change(name: str) -> bool:
    """Is this the name of a value that changes a constant, such as "set.link.gbps"?"""
    return name.startswith("set.")


def _number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more, and is {value!r}")


def _model(name: str, value: Any) -> None:
    from ...models.catalogue import model_shape

    model_shape(_text(name, value))


def _box(name: str, value: Any) -> None:
    load_box(_text(name, value))


def _stack(name: str, value: Any) -> None:
    check_stack(_text(name, value))


def _precision(name: str, value: Any) -> None:
    from ...models.precision import Precision

    Precision.parse(_text(name, value))


def _changes(name: str, value: Any) -> None:
    """The constants are those of any box; whether it has a slow place is seen when it is known."""
    from ...mesh.scenario import Scenario
    from ...mesh.settings import PLACE, normal

    if not isinstance(value, Mapping):
        raise ValueError(f'{name} must be a table, as {{"link.gbps" = 200}}, and is {value!r}')
    scenario = Scenario.of(load_box("quietbox2"))
    for changed, to in value.items():
        if isinstance(to, bool) or not isinstance(to, (int, float, str)):
            raise ValueError(f"{name}.{changed} must be a number, and is {to!r}")
        setting, share = normal(changed, to)
        if PLACE.fullmatch(setting):
            setting = "slow_chip.0"
        scenario.but(setting, share)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a name in quotes, and is {value!r}")
    return value


VALUES: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "model": _model,
    "box": _box,
    "tp": _number,
    "dp": _number,
    "batch": _number,
    "batch_per_chip": _number,
    "prompt": _number,
    "output": _number,
    "precision": _precision,
    "set": _changes,
    "stack": _stack,
}
"""What a point may hold, and the check of each."""

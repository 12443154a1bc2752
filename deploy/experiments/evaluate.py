"""One point of a plan: the seam between the experiments and the planner.

Nothing else in this folder knows what a model or a box is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ...chip.errors import OutOfMemory, did_you_mean, nearest_name
from ...chip.record import OpRecord
from ...chip.units import PS_PER_S
from ...fabric.topology import load_box

PS_PER_MS: Final = 1_000_000_000
SHARES: Final = ("compute", "dram", "fabric", "dispatch")
RESULTS: Final = (
    "chips", "users", "mesh", "fits", "why_not", "dram_bytes", "dram_free_bytes", "sim_ttft_ms",
    "sim_step_ms", "sim_tokens_per_s_per_user", "sim_tokens_per_s", "sim_tokens_per_s_per_chip",
    *(f"share_{bound}" for bound in SHARES),
)  # fmt: skip
"""The names of what `evaluate` finds."""


def evaluate(point: Mapping[str, Any]) -> dict[str, Any]:
    """What a deployment reaches, simulated; see VALUES for what a point may hold.

    `model` is needed. Defaults: box quietbox2, all its chips in one replica, batch 1, 128 tokens of
    prompt and of output, precision "performance". `batch_per_chip` may stand for `batch`. `set`
    is a table of changed constants ({"link.gbps": 200}, see `meshtwin constants`); a value named
    "set.link.gbps" is one of them. The mesh of a replica is that of the box as it is.

    Returns:
        chips, users, mesh; fits, why_not, dram_bytes, dram_free_bytes (of one chip); sim_ttft_ms;
        sim_step_ms; sim_tokens_per_s_per_user, sim_tokens_per_s and sim_tokens_per_s_per_chip of
        decoding, in the middle of the output; share_* of a decode step's time. Where the model
        does not fit, `fits` is False, and only the first five are there.
    Raises:
        MeshtwinError: there is no such deployment.
    """
    from ...mesh.scenario import Scenario
    from ...models.catalogue import model_shape
    from ...models.plan import Deployment, PlannedReplica, fitting_mesh
    from ...models.precision import Precision

    box = load_box(point.get("box", "quietbox2"))
    dp = point.get("dp", 1)
    tp = point.get("tp") or max(1, box.num_chips // dp)
    batch = point["batch_per_chip"] * tp * dp if "batch_per_chip" in point else point.get("batch")
    deployment = Deployment(
        config=model_shape(point["model"]),
        box=box,
        mesh=fitting_mesh(box, tp),
        dp=dp,
        batch=batch or 1,
        prompt=point.get("prompt", 128),
        output=point.get("output", 128),
        precision=Precision.parse(point.get("precision", "performance")),
        scenario=Scenario.of(box, _changes_of(point).items()),
    )
    found: dict[str, Any] = {
        "chips": tp * dp,
        "users": deployment.batch,
        "mesh": "x".join(map(str, deployment.mesh)),
    }
    try:
        replica = PlannedReplica(deployment)
        decode = replica.decode(deployment.prompt + deployment.output // 2)
        dram = replica.chip.dram
        dram_bytes, free_bytes = dram.used_bytes, dram.free_bytes
        prefill = replica.prefill()
    except OutOfMemory as error:
        return {**found, "fits": False, "why_not": str(error)}
    per_user = PS_PER_S / decode.sim_ps
    return {
        **found,
        "fits": True,
        "why_not": "",
        "dram_bytes": dram_bytes,
        "dram_free_bytes": free_bytes,
        "sim_ttft_ms": prefill.sim_ps / PS_PER_MS,
        "sim_step_ms": decode.sim_ps / PS_PER_MS,
        "sim_tokens_per_s_per_user": per_user,
        "sim_tokens_per_s": per_user * deployment.batch,
        "sim_tokens_per_s_per_chip": per_user * deployment.batch / (tp * dp),
        **_shares(decode.records),
    }


def _changes_of(point: Mapping[str, Any]) -> dict[str, float | str]:
    single = {n.removeprefix("set."): value for n, value in point.items() if is_change(n)}
    return {**point.get("set", {}), **single}


def _shares(records: Iterable[OpRecord]) -> dict[str, float]:
    sums: Counter[str] = Counter()
    for record in records:
        sums[record.bound] += record.sim_duration_ps
    total = sum(sums.values())
    return {f"share_{bound}": sums[bound] / total if total else 0.0 for bound in SHARES}


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
}
"""What a point may hold, and the check of each."""

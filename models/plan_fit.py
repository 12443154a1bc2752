"""What to change about a deployment that does not fit: of each kind, the nearest that does."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ..chip.errors import OutOfMemory
from ..fabric.submesh import shapes
from ..fabric.topology import boxes
from .errors import UnsupportedModel
from .plan import Deployment, PlannedReplica, fitting_mesh
from .plan_phase import PlannedMemory
from .precision import PRECISIONS, Precision

Change = Literal["tp", "precision", "batch", "box"]
PLENTY: Final = 1 << 50
"""Bytes of a DRAM bank that every model fits."""
UNIFORM: Final = ("float32", "bfloat16", "bfp8_b", "bfp4_b")


@dataclass(frozen=True, slots=True)
class Alternative:
    """One thing changed: the nearest deployment that fits, or None where none of the kind does."""

    change: Change
    deployment: Deployment | None


def needed_memory(deployment: Deployment) -> PlannedMemory:
    """What a replica would take of its chips, had they room; the capacity is the real one."""
    spec = deployment.conditions.chip
    replica = PlannedReplica(deployment, dataclasses.replace(spec, dram_bank_bytes=PLENTY))
    replica.prefill()
    replica.decode(deployment.positions[-1])
    return dataclasses.replace(replica.memory(), dram_capacity_bytes=spec.dram_capacity_bytes)


def nearest_fits(deployment: Deployment) -> list[Alternative]:
    """More chips a replica, a lower precision, a smaller batch: each alone, as little as will do.

    Where none of them does, the smallest other box that does with all its chips in one replica.
    """
    found = [
        Alternative("tp", _first_that_fits(_wider(deployment))),
        Alternative("precision", _first_that_fits(_coarser(deployment))),
        Alternative("batch", _smaller_batch(deployment)),
    ]
    if not any(alternative.deployment for alternative in found):
        found.append(Alternative("box", _first_that_fits(_elsewhere(deployment))))
    return found


def fits(deployment: Deployment) -> bool:
    """Whether a prefill and a decode step of a replica have room on its chips."""
    try:
        replica = PlannedReplica(deployment)
        replica.prefill()
        replica.decode(deployment.positions[-1])
    except (OutOfMemory, UnsupportedModel):
        return False
    return True


def _first_that_fits(candidates: Iterable[Deployment]) -> Deployment | None:
    return next(filter(fits, candidates), None)


def _wider(deployment: Deployment) -> Iterator[Deployment]:
    """More and more chips a replica, and as many replicas as the box then has room for."""
    box = deployment.box
    for tp in range(deployment.tp + 1, box.num_chips + 1):
        if shapes(box, tp):
            dp = min(deployment.dp, box.num_chips // tp)
            yield dataclasses.replace(deployment, mesh=fitting_mesh(box, tp), dp=dp)


def _coarser(deployment: Deployment) -> Iterator[Deployment]:
    """Lower and lower precisions."""
    known = [*PRECISIONS.values(), *map(Precision.parse, UNIFORM)]
    now = _size(deployment.precision)
    for precision in sorted(known, key=_size, reverse=True):
        if _size(precision) < now:
            yield dataclasses.replace(deployment, precision=precision)


def _size(precision: Precision) -> int:
    """Bytes of as many elements of each kind; the kinds of the MLP are most of a model."""
    mlp = 2 * precision.gate_up.row_bytes(1024) + precision.down.row_bytes(1024)
    return 2 * mlp + precision.attention.row_bytes(1024) + precision.kv_cache.row_bytes(1024)


def _smaller_batch(deployment: Deployment) -> Deployment | None:
    """The most users that fit, found by halving."""
    best, fitting, failing = None, 0, deployment.batch_of_replica
    while failing - fitting > 1:
        users = (fitting + failing) // 2 if fitting else 1
        candidate = dataclasses.replace(deployment, batch=users * deployment.dp)
        if fits(candidate):
            best, fitting = candidate, users
        elif users == 1:
            return None
        else:
            failing = users
    return best


def _elsewhere(deployment: Deployment) -> Iterator[Deployment]:
    """Other boxes, the smallest first, all chips in one replica."""
    for box in sorted(boxes().values(), key=lambda box: (box.num_chips, box.name)):
        if box is not deployment.box:
            yield dataclasses.replace(deployment, box=box, mesh=box.shape, dp=1)

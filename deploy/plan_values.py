"""A plan as plain values, for JSON: names end in their unit; what is simulated begins with sim_."""

from collections.abc import Sequence
from typing import Any

from ..chip.errors import OutOfMemory
from ..models.catalogue import model_note
from ..models.model_plan import ModelPlan, rate_per_s
from ..models.plan import Deployment
from ..models.plan_fit import Alternative
from ..models.plan_ops import OpRow, Peaks, op_rows
from ..models.plan_phase import Phase, PlannedMemory
from .plan_band import band_of


def values(name: str, plan: ModelPlan, with_ops: bool) -> dict[str, Any]:
    """All of a plan, and of its ops if asked for."""
    deployment = plan.deployment
    first, middle, last = deployment.positions
    band = band_of(plan)
    return {
        **of_deployment(name, deployment),
        "fits": True,
        "sim_ttft_s": plan.sim_ttft_s,
        **_ends("sim_ttft_s", band.of_ttft(plan.sim_ttft_s)),
        "sim_prefill_all_s": plan.sim_prefill_all_s,
        "sim_step_s": plan.decode.sim_s,
        **_ends("sim_step_s", band.of_step(plan.decode.sim_s)),
        "sim_tokens_per_s_per_user": plan.sim_tokens_per_s_per_user,
        **_ends("sim_tokens_per_s_per_user", band.of_rate(plan.sim_tokens_per_s_per_user)),
        "sim_first_tokens_per_s_per_user": rate_per_s(plan.sim_first_step_ps),
        "sim_last_tokens_per_s_per_user": rate_per_s(plan.sim_last_step_ps),
        "sim_tokens_per_s": plan.sim_tokens_per_s,
        **_ends("sim_tokens_per_s", band.of_rate(plan.sim_tokens_per_s)),
        "band_notes": list(band.notes),
        "positions": {"first": first, "middle": middle, "last": last},
        "memory": of_memory(plan.memory),
        "peaks": {
            "dram_bytes_per_s": plan.peaks.dram_bytes_per_s,
            "flops_per_s": plan.peaks.flops_per_s,
            "link_bytes_per_s": plan.peaks.link_bytes_per_s,
        },
        "decode": _of_phase(plan.decode, plan.peaks, with_ops),
        "prefill": _of_phase(plan.prefill, plan.peaks, with_ops),
    }


def _ends(name: str, ends: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_low": ends[0], f"{name}_high": ends[1]}


def unfit_values(
    name: str,
    deployment: Deployment,
    needed: PlannedMemory,
    error: OutOfMemory,
    alternatives: Sequence[Alternative],
) -> dict[str, Any]:
    """What does not fit, and what would."""
    return {
        **of_deployment(name, deployment),
        "fits": False,
        "why_not": str(error),
        "memory": of_memory(needed),
        "alternatives": [
            {
                "change": alternative.change,
                "to": alternative.deployment and of_deployment(name, alternative.deployment),
            }
            for alternative in alternatives
        ],
    }


def of_deployment(name: str, deployment: Deployment) -> dict[str, Any]:
    """What is planned."""
    return {
        "model": name,
        "model_notes": list(filter(None, [model_note(name)])),
        "box": deployment.box.name,
        "product": deployment.box.product,
        "mesh": list(deployment.mesh),
        "tp": deployment.tp,
        "dp": deployment.dp,
        "num_chips": deployment.tp * deployment.dp,
        "num_users": deployment.batch,
        "num_users_of_replica": deployment.batch_of_replica,
        "num_prompt_tokens": deployment.prompt,
        "num_output_tokens": deployment.output,
        "precision": deployment.precision.name,
        "stack": deployment.stack,
    }


def of_memory(memory: PlannedMemory) -> dict[str, Any]:
    """Of each chip, and of each core's L1."""
    return {
        "dram_capacity_bytes": memory.dram_capacity_bytes,
        "dram_peak_bytes": memory.dram_peak_bytes,
        "weight_bytes": memory.weight_bytes,
        "cache_bytes": memory.cache_bytes,
        "activation_bytes": memory.activation_bytes,
        "l1_capacity_bytes_per_core": memory.l1_capacity_bytes,
        "l1_peak_bytes_per_core": memory.l1_peak_bytes,
        "l1_tensor_bytes_per_core": memory.l1_tensor_bytes,
        "l1_circular_bytes_per_core": memory.l1_circular_bytes,
        "l1_op": memory.l1_op,
    }


def _of_phase(phase: Phase, peaks: Peaks, with_ops: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sim_duration_ps": phase.sim_ps,
        "num_ops": len(phase.records),
        "shares": dict(phase.shares),
    }
    if with_ops:
        found["ops"] = [_of_row(row) for row in op_rows(phase.records, peaks)]
    return found


def _of_row(row: OpRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "operands": row.operands,
        "count": row.count,
        "sim_duration_ps": row.sim_duration_ps,
        "share": row.share,
        "bound": row.bound,
        "bytes": row.bytes,
        "flops": row.flops,
        "sim_bytes_per_s": row.sim_bytes_per_s,
        "sim_flops_per_s": row.sim_flops_per_s,
        "utilisation": row.utilisation,
    }

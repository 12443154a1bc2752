"""Measured times to the first token, beside the plan of a prefill dispatched op by op."""

from . import llm
from .case import Case
from .place import Free, Place
from .table import Line

FREE = (
    *(Free(Place(stack, "any", "host_op_us"), 1, 200) for stack in ("tt_transformers", "tuned")),
    Free(Place("tt_transformers", "wormhole_b0", "matmul_compute_share"), 0.05, 1),
    Free(Place("tt_transformers", "wormhole_b0", "matmul_feed_share"), 0.05, 1),
    Free(Place("tuned", "any", "matmul_compute_share"), 0.05, 1),
)
"""Those of tt_transformers on Blackhole are fitted to single products: see small_ops.py."""


NOTE = "3 of the rows are of stack tuned, and 2 constants are fitted to them: they had to be met"


def excluded(line: Line) -> str:
    """Why a row says nothing of a prefill; "" when it does."""
    if not line.text("ttft_ms"):
        return "no time to the first token"
    if "prompt length not stated" in line.text("notes"):
        return "its prompt is not said, and all of the time goes with it"
    if line.text("source_repo") == "tenstorrent/tt-inference-server" and "2025" in line.text(
        "date_or_release"
    ):
        return "served in 2025: its TTFT grows with the output, so the prompt does not make it"
    return ""


def case(line: Line) -> Case:
    """The prefill of a row: columns as `llm.setup`, and ttft_ms.

    Raises:
        BadRow: a field is missing or wrong.
    """
    setup = llm.setup(line)
    deployment = setup.deployment
    works, fixed_us = llm.prefill_works(setup)
    return Case(
        group=f"{deployment.box.name} {setup.stack}{' served' if setup.is_served else ''}",
        label=(
            f"{line.text('model')} {deployment.box.name} {deployment.precision.name} "
            f"prompt {deployment.prompt}, batch {deployment.batch}"
            f"{' served' if setup.is_served else ''}"
        ),
        spec=setup.spec,
        stack=setup.stack,
        measured_us=1000 * line.number_of("ttft_ms"),
        works=works,
        fixed_us=fixed_us,
        is_traced=False,
        added_ms="server_ttft_ms" if setup.is_served else "",
        features=setup.features,
    )

"""Measured decode steps: what a token takes each user, beside the plan of a step."""

from . import llm
from .case import Case
from .place import Free, Place
from .table import Line

FREE = (
    *(
        Free(Place(stack, arch, "decode_feed_efficiency"), 0.05, 0.98)
        for stack, arch in (
            ("tt_transformers", "blackhole"),
            ("tt_transformers", "wormhole_b0"),
            ("tuned", "blackhole"),
        )
    ),
    *(
        Free(Place(stack, "any", name), least, most)
        for stack in ("tt_transformers", "tuned")
        for name, least, most in (
            ("op_start_us", 0, 50),
            ("kv_position_ns", 0, 1000),
            ("kv_efficiency", 0.02, 1),
            ("server_step_ms", 0, 20),
        )
    ),
)


def excluded(line: Line) -> str:
    """Why a row says nothing of a decode step; "" when it does."""
    if not line.text("tokens_s_per_user"):
        return "no time of a token"
    if line.text("notes").startswith("[CI-TARGET] eval"):
        return (
            "a target of an evaluation: 2.5 times the step that the same box takes with as many "
            "users, so most of it is no decode"
        )
    return ""


def case(line: Line) -> Case:
    """The decode step of a row: columns as `llm.setup`, and tokens_s_per_user.

    Raises:
        BadRow: a field is missing or wrong.
    """
    setup = llm.setup(line)
    deployment = setup.deployment
    works, fixed_us = llm.decode_works(setup)
    return Case(
        group=f"{deployment.box.name} {setup.stack}{' served' if setup.is_served else ''}",
        label=(
            f"{line.text('model')} {deployment.box.name} {deployment.precision.name} "
            f"batch {deployment.batch} at {setup.positions}"
            f"{' served' if setup.is_served else ''}"
        ),
        spec=setup.spec,
        stack=setup.stack,
        measured_us=1e6 / line.number_of("tokens_s_per_user"),
        works=works,
        fixed_us=fixed_us,
        added_ms="server_step_ms" if setup.is_served else "",
        features=setup.features,
    )

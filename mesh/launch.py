"""Placing the chips of a box on a Ray cluster and starting one actor for each."""

from dataclasses import dataclass
from typing import Any, cast

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from ..chip.cost import DEFAULT_STACK
from ..fabric.auth import new_keys
from ..fabric.faults import FaultPlan
from ..fabric.topology import Box
from .actor import ChipHost
from .errors import ChipDown, LaunchError
from .messages import ActorSettings
from .remote import collect

CPU_PER_CHIP = 0.01
"""What a chip asks of Ray's scheduler: next to nothing, so that any machine can hold a Galaxy."""


@dataclass(slots=True)
class Chips:
    """The running actors of a mesh, by rank, and the placement group that holds them."""

    actors: list[Any]
    group: PlacementGroup

    def close(self, wait_s: float) -> None:
        """Let every chip give back what it holds, then end its process."""
        actors, self.actors = self.actors, []
        if not ray.is_initialized():  # somebody has shut Ray down, and the chips with it
            return
        try:
            asked = [actor.close.remote() for actor in actors]
            ray.wait(asked, num_returns=len(asked), timeout=wait_s)
        finally:
            for actor in actors:
                ray.kill(actor)
            remove_placement_group(self.group)


def launch(
    box: Box,
    transport: str,
    collective_timeout_s: float,
    start_timeout_s: float,
    spread: bool,
    faults: FaultPlan | None,
    checked: bool = False,
    stack: str = DEFAULT_STACK,
) -> Chips:
    """Start the chips of `box`: the chips of a board share a bundle, so they share a host.

    The boards go to as few hosts as hold them, or with `spread` to as many as there are.

    Raises:
        LaunchError: the cluster has no room, or the chips did not start in `start_timeout_s`.
        SharedMemoryRefused, PortRefused: a host does not let a chip open its end of the fabric.
    """
    bundles = [{"CPU": CPU_PER_CHIP * len(board)} for board in box.boards]
    group = placement_group(bundles, strategy="SPREAD" if spread else "PACK")
    if not group.wait(start_timeout_s):
        remove_placement_group(group)
        raise LaunchError(
            box.name,
            f"the cluster has no room for {len(bundles)} boards with {CPU_PER_CHIP} CPU a chip: "
            f"{ray.available_resources().get('CPU', 0):g} of "
            f"{ray.cluster_resources().get('CPU', 0):g} CPUs are free "
            f"(waited {start_timeout_s:.0f} s, limit: start_timeout_s)",
        )
    chips = Chips([], group)
    try:
        chips.actors = [
            _start(
                ActorSettings(box, rank, transport, collective_timeout_s, faults, checked, stack),
                box,
                group,
            )
            for rank in range(box.num_chips)
        ]
        _wire(box, chips, start_timeout_s)
    except BaseException:
        chips.close(wait_s=1.0)
        raise
    return chips


def _start(settings: ActorSettings, box: Box, group: PlacementGroup) -> Any:
    bundle = next(i for i, board in enumerate(box.boards) if settings.rank in board)
    remote = cast(Any, ray.remote(ChipHost))
    return remote.options(
        num_cpus=CPU_PER_CHIP,
        max_restarts=0,
        name=None,
        scheduling_strategy=PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=bundle
        ),
    ).remote(settings)


def _wire(box: Box, chips: Chips, timeout_s: float) -> None:
    """Exchange addresses: every chip opens its end, then attaches to all the others."""
    keys = new_keys(box.num_chips)
    try:
        listening = [a.listen.remote(own) for a, own in zip(chips.actors, keys, strict=True)]
        addresses = collect(listening, timeout_s)
        collect([actor.connect.remote(addresses) for actor in chips.actors], timeout_s)
    except TimeoutError as error:
        raise LaunchError(box.name, f"not started: {error}") from error
    except ChipDown as error:
        raise LaunchError(box.name, f"while starting, {error}") from error

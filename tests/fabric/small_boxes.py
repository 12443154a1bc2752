"""Boxes of any shape, for tests."""

from dataclasses import replace

from meshtwin.fabric.topology import Box, Edge, grid_edges, load_box


def small_box(shape: tuple[int, int], wrap: tuple[bool, bool] = (False, False)) -> Box:
    """A mesh or torus with one link between neighbours, as fast as those of a Galaxy."""
    ranks = tuple(range(shape[0] * shape[1]))
    return replace(
        load_box("galaxy"),
        name=f"{shape} {wrap}",
        shape=shape,
        edges=tuple(Edge(a, b, 1) for a, b in grid_edges(shape, wrap)),
        wrap=wrap,
        boards=(ranks,),
        chip_ids=ranks,
        aliases=(),
    )

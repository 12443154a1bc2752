"""Translated coordinates: the fixed places under which software finds what is left of a die.

Source: tt-umd 3ed9cb6d device/coordinates/{blackhole,wormhole}_coordinate_manager.cpp and
device/api/umd/device/arch/*_implementation.hpp (translated_coordinate_start constants). Kinds that
are not named here keep their NoC0 coordinates.
"""

from collections.abc import Iterator, Mapping

from .grid import Grid, Xy

BLACKHOLE_DRAM = (17, 12)
BLACKHOLE_PCIE = (19, 24)
BLACKHOLE_ETH = (20, 25)
WORMHOLE_TENSIX = (18, 18)
WORMHOLE_ETH = (18, 16)


def translated(grid: Grid, logical: Mapping[Xy, Xy]) -> dict[Xy, Xy]:
    """Translated coordinates of NoC0 places, for those where they differ.

    Args:
        logical: logical coordinates of each place that is not harvested.
    """
    rules = _blackhole if grid.arch == "blackhole" else _wormhole
    return dict(rules(grid, logical))


def _blackhole(grid: Grid, logical: Mapping[Xy, Xy]) -> Iterator[tuple[Xy, Xy]]:
    """Tensix columns move left, harvested ones to the right end, later fuse bits nearer."""
    off = [x for x in grid.fuse_order if (x, grid.tensix_y[0]) not in logical]
    on = [x for x in grid.tensix_x if x not in off]
    for x, to in zip(on + off[::-1], grid.tensix_x, strict=True):
        yield from (((x, y), (to, y)) for y in grid.tensix_y)
    left = [xy for xy in grid.eth if xy in logical]
    yield from ((xy, (BLACKHOLE_ETH[0] + i, BLACKHOLE_ETH[1])) for i, xy in enumerate(left))
    yield from ((xy, BLACKHOLE_PCIE) for xy in [xy for xy in grid.pcie if xy in logical][:1])
    for column, banks in enumerate(_dram_columns(grid, logical)):
        ports = [xy for bank in banks for xy in grid.dram[bank]]
        x, y = BLACKHOLE_DRAM[0] + column, BLACKHOLE_DRAM[1]
        yield from ((xy, (x, y + i)) for i, xy in enumerate(ports))


def _dram_columns(grid: Grid, logical: Mapping[Xy, Xy]) -> tuple[list[int], list[int]]:
    """Banks of the two columns: the whole one first; a harvested bank and its mirror come last."""
    half = len(grid.dram) // 2
    west, east = list(range(half)), list(range(half, 2 * half))
    for bank in west + east:
        if grid.dram[bank][0] not in logical:
            whole, short = (east, west) if bank in west else (west, east)
            mirror = whole[short.index(bank)]
            return (
                [other for other in whole if other != mirror] + [mirror],
                [other for other in short if other != bank] + [bank],
            )
    return west, east


def _wormhole(grid: Grid, logical: Mapping[Xy, Xy]) -> Iterator[tuple[Xy, Xy]]:
    """Tensix rows move up, harvested ones to the end; Ethernet takes two rows above them."""
    rows = sorted(grid.tensix_y, key=lambda y: (grid.tensix_x[0], y) not in logical)
    for j, y in enumerate(rows):
        for i, x in enumerate(grid.tensix_x):
            yield (x, y), (WORMHOLE_TENSIX[0] + i, WORMHOLE_TENSIX[1] + j)
    ys = sorted({y for _, y in grid.eth})
    for x, y in grid.eth:
        yield (x, y), (WORMHOLE_ETH[0] + grid.tensix_x.index(x), WORMHOLE_ETH[1] + ys.index(y))

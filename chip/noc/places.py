"""Places on a chip as people write them: `3,4`, `w0,0`, `d5`."""

import re

from ..errors import InvalidArgument
from ..grid import Xy
from .noc import Noc


def place(noc: Noc, text: str, index: int = 0) -> Xy:
    """The NoC0 coordinates that a text names.

    Args:
        text: `3,4` is NoC0 (3, 4); `w0,0` the worker of logical coordinates (0, 0); `d5` the port
            of DRAM bank 5 that workers use on NoC `index`.
    Raises:
        InvalidArgument: the text names no place.
        NoSuchCore: there is no such worker; the nearest one is named.
    """
    if found := re.fullmatch(r"(w?)(\d+),(\d+)", text):
        xy = int(found[2]), int(found[3])
        return noc.floorplan.worker(xy).noc0 if found[1] else xy
    if found := re.fullmatch(r"d(\d+)", text):
        return noc.floorplan.dram_port(int(found[1]), index).noc0
    raise InvalidArgument(
        f"{text!r} is no place: write 3,4 (NoC0), w0,0 (a worker) or d5 (a DRAM bank)"
    )


def rectangle(noc: Noc, text: str) -> tuple[Xy, Xy]:
    """The two corners of `w0,0..w3,3`, or of `1,2..4,5`.

    Raises:
        InvalidArgument: the text names no rectangle.
    """
    first, dots, last = text.partition("..")
    if not dots:
        raise InvalidArgument(f"{text!r} is no rectangle: write two corners, as in w0,0..w3,3")
    return place(noc, first), place(noc, last)

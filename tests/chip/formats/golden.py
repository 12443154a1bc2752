"""What ttnn 0.81.1 makes of numbers on a host: tests/golden/formats.npz."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PATH = Path(__file__).resolve().parents[2] / "golden" / "formats.npz"


@cache
def golden() -> dict[str, npt.NDArray[Any]]:
    """All arrays of the file by name."""
    with np.load(PATH) as arrays:
        return dict(arrays)

"""Cutting fractions by arithmetic on float64: the second opinion on masks."""

from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.chip.compute_config import Fidelity

Array = npt.NDArray[Any]

WEIGHT_BITS, ACTIVATION_BITS = 4, 6  # of the fraction, that phase 0 sees
TF32_WEIGHT_BITS, TF32_ACTIVATION_BITS = 9, 10  # that all phases see


def kept(x: Array, bits: int) -> Array:
    """Numbers cut, toward zero, to so many bits after the leading one."""
    fraction, exponent = np.frexp(np.asarray(x, np.float64))
    return np.asarray(np.ldexp(np.trunc(np.ldexp(fraction, bits + 1)), exponent - bits - 1))


def product(fidelity: Fidelity, in0: Array, in1: Array) -> Array:
    """in0 x in1 phase by phase, in float64."""
    if fidelity is Fidelity.EXACT:
        return np.asarray(in0 @ in1)
    upper0, upper1 = kept(in0, ACTIVATION_BITS), kept(in1, WEIGHT_BITS)
    lower0 = kept(in0, TF32_ACTIVATION_BITS) - upper0
    lower1 = kept(in1, TF32_WEIGHT_BITS) - upper1
    phases = [upper0 @ upper1, upper0 @ lower1, lower0 @ upper1, lower0 @ lower1]
    return np.asarray(sum(phases[: fidelity.phases]))

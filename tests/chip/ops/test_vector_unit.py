"""Ops that a compute config has computed by a routine of the vector unit."""

from typing import Literal

import numpy as np
import pytest

from meshtwin.chip import sfpu, special
from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import EXACT, ComputeConfig
from meshtwin.chip.dtype import DType
from meshtwin.chip.ops.vector_unit import Routine
from meshtwin.chip.tensor import encode

FORMS: tuple[Literal["none", "tanh"], ...] = ("none", "tanh")
EVERY_WORD = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
EVERY_NUMBER = (EVERY_WORD.astype(np.uint32) << 16).view(np.float32)
APPROX: dict[str, Routine] = {
    "exp": sfpu.exp_approx,
    "reciprocal": sfpu.reciprocal_approx,
    "sqrt": sfpu.sqrt_approx,
    "rsqrt": sfpu.rsqrt_approx,
    "gelu": sfpu.gelu_approx,
    "sigmoid": sfpu.sigmoid_approx,
    "tanh": sfpu.tanh_approx,
}
BFLOAT16: dict[str, Routine] = {
    "exp": sfpu.exp_bfloat16,
    "reciprocal": sfpu.reciprocal_bfloat16,
    "sqrt": sfpu.sqrt_float32,
    "rsqrt": sfpu.rsqrt_float32,
}
FLOAT32: dict[str, Routine] = {
    **BFLOAT16,
    "exp": sfpu.exp_float32,
    "reciprocal": sfpu.reciprocal_float32,
}
CASES = [
    (name, routine, config)
    for routines, config in (
        (APPROX, ComputeConfig(approx=True)),
        (APPROX, ComputeConfig(approx=True, fp32_dest_acc=True)),
        (BFLOAT16, ComputeConfig()),
        (FLOAT32, ComputeConfig(fp32_dest_acc=True)),
    )
    for name, routine in routines.items()
]


@pytest.mark.parametrize(("name", "routine", "config"), CASES)
def test_every_bfloat16_number_gives_what_its_routine_gives(
    name: str, routine: Routine, config: ComputeConfig
) -> None:
    chip = Chip.open("p150")
    x, exact = chip.tensor(EVERY_WORD, "bf16"), routine(EVERY_NUMBER)
    nearest = getattr(chip, name)(x, compute=config).storage
    assert nearest.tolist() == encode(exact, DType.BFLOAT16).tolist()
    packed = getattr(chip, name)(x, compute=config.but(rounding="packer")).storage
    assert packed.tolist() == special.pack(exact, True).tolist()


@pytest.mark.parametrize(("name", "routine", "config"), CASES)
def test_a_float32_number_is_cut_to_what_dst_holds(
    name: str, routine: Routine, config: ComputeConfig
) -> None:
    chip = Chip.open("p150")
    x = np.random.default_rng(0).uniform(0.1, 8, 1000).astype(np.float32)
    found = getattr(chip, name)(chip.tensor(x), compute=config).to_numpy()
    if config.fp32_dest_acc:
        assert found.tolist() == routine(x).tolist()
    else:
        cut = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
        assert (
            encode(found, DType.BFLOAT16).tolist() == encode(routine(cut), DType.BFLOAT16).tolist()
        )
        assert not np.any(found.view(np.uint32) & 0xFFFF)


@pytest.mark.parametrize("name", APPROX)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_reference_config_and_none_are_one(name: str, dtype: str) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.random.default_rng(0).standard_normal(500) ** 2, dtype)
    plain, exact = (
        getattr(chip, name)(x, **given).to_numpy() for given in ({}, {"compute": EXACT})
    )
    assert plain.tolist() == exact.tolist()
    first, second = chip.recorder.records()
    assert first.sim_duration_ps == second.sim_duration_ps


def test_gelu_sigmoid_and_tanh_without_a_routine_are_exact_in_what_dst_holds() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.random.default_rng(0).standard_normal(500), "bf16")
    for name in ("gelu", "sigmoid", "tanh"):
        op = getattr(chip, name)
        assert op(x, compute=ComputeConfig()).storage.tolist() == op(x).storage.tolist()


def test_both_forms_of_gelu_have_one_approximation() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.linspace(-4, 4, 99), "bf16")
    config = ComputeConfig(approx=True)
    erf, tanh = (chip.gelu(x, form, compute=config).to_numpy() for form in FORMS)
    assert np.array_equal(erf, tanh)


def test_a_softmax_of_routines_is_off_by_what_they_are_off() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.random.default_rng(0).standard_normal((64, 100)) * 3)
    exact = chip.softmax(x).to_numpy()

    def off_by(config: ComputeConfig) -> float:
        return float((np.abs(chip.softmax(x, -1, config).to_numpy() - exact) / exact).max())

    float32 = ComputeConfig(fp32_dest_acc=True)
    assert off_by(EXACT) < 2e-6 and off_by(float32) < 2e-6
    assert 1e-2 < off_by(float32.but(approx=True)) < 7e-2
    assert 1e-2 < off_by(ComputeConfig()) < 0.2  # x - max has 8 bits


def test_an_approximate_softmax_masks_as_the_exact_one_does() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((4, 4)))
    for compute in (None, ComputeConfig(approx=True), ComputeConfig(fp32_dest_acc=True)):
        out = chip.scale_mask_softmax(x, is_causal=True, compute=compute).to_numpy()
        assert np.array_equal(out == 0, ~np.tri(4, dtype=bool))
        assert np.allclose(out.sum(axis=-1), 1, atol=0.04)

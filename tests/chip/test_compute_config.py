import pickle
import tomllib
from importlib.resources import files

import pytest

from meshtwin.chip.compute_config import EXACT, ComputeConfig, Fidelity
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.spec import KINDS


def test_a_fidelity_is_named_as_ttnn_names_it() -> None:
    assert [Fidelity.parse(name).phases for name in ("LoFi", "HiFi2", "HiFi3", "HiFi4")] == [
        1,
        2,
        3,
        4,
    ]
    assert Fidelity.parse("hifi4") is Fidelity.parse(Fidelity.HIFI4) is Fidelity.HIFI4
    assert str(Fidelity.HIFI2) == "HiFi2"
    with pytest.raises(InvalidArgument, match="unknown fidelity 'HiFi5': did you mean 'HiFi"):
        Fidelity.parse("HiFi5")


def test_a_config_is_a_value() -> None:
    config = ComputeConfig("HiFi3", k_block=64)  # type: ignore[arg-type]
    assert config == ComputeConfig(Fidelity.HIFI3, k_block=64)
    assert hash(config) == hash(ComputeConfig(Fidelity.HIFI3, k_block=64))
    assert pickle.loads(pickle.dumps(config)) == config


def test_but_changes_fields() -> None:
    config = ComputeConfig.default("matmul", "bfloat16", "bfloat16")
    assert config.but(fidelity="HiFi4") == ComputeConfig(Fidelity.HIFI4)
    assert config.fidelity is Fidelity.HIFI2
    with pytest.raises(InvalidArgument, match="no 'fidelty': did you mean 'fidelity'"):
        config.but(fidelty="HiFi4")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"rounding": "up"}, "rounding .='up'. must be 'nearest_even' or 'packer'"),
        ({"accumulate": "float16"}, "accumulate"),
        ({"specials": "none"}, "specials"),
        ({"k_block": 48}, "k_block .=48. must be a positive multiple of 32"),
        ({"k_block": 0}, "k_block"),
        ({"fp32_dest_acc": True, "accumulate": "bfloat16"}, "needs fp32_dest_acc=False"),
    ],
    ids=str,
)
def test_a_config_that_no_chip_has_is_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        ComputeConfig().but(**wrong)


@pytest.mark.parametrize(
    ("op", "dtypes", "fidelity", "fp32_dest_acc", "approx"),
    [
        ("matmul", ("bfloat16", "bfloat16"), "HiFi2", False, False),
        ("linear", (DType.BFLOAT16, "bfp8_b"), "HiFi2", False, False),
        ("matmul", ("bfp8_b", "bfp4_b"), "LoFi", False, False),
        ("matmul", (DType.FLOAT32, DType.FLOAT32), "HiFi4", True, False),
        ("attention", ("bfloat16", "bfloat16"), "HiFi2", False, True),
        ("softmax", ("bfloat16",), "HiFi4", True, True),
        ("rms_norm", ("bfloat16", "bfloat16"), "HiFi4", False, True),
        ("exp", ("bfloat16",), "HiFi4", False, False),
        # not recorded:
        ("matmul", ("bfloat16", "float32"), "HiFi4", True, False),
        ("matmul", ("float16", "float16"), "HiFi4", True, False),
        ("matmul", ("bfp8_b", "bfloat16"), "LoFi", False, False),
        ("matmul", ("int32", "int32"), "HiFi2", False, False),
    ],
)
def test_defaults_are_those_recorded_from_ttnn(
    op: str, dtypes: tuple[str, ...], fidelity: str, fp32_dest_acc: bool, approx: bool
) -> None:
    config = ComputeConfig.default(op, *dtypes)
    assert (str(config.fidelity), config.fp32_dest_acc, config.approx) == (
        fidelity,
        fp32_dest_acc,
        approx,
    )


def test_an_op_that_was_not_recorded_is_named() -> None:
    with pytest.raises(InvalidArgument, match="op 'matmull': did you mean 'matmul'"):
        ComputeConfig.default("matmull", "bfloat16")


def test_the_record_says_where_it_is_from() -> None:
    table = tomllib.loads((files("meshtwin.chip") / "data" / "op_numerics.toml").read_text())
    assert table["kind"] in KINDS and "ttnn 0.81.1" in table["source"]
    fields = {"names", "inputs", "output", "kernel", "fidelity", "approx", "fp32_dest_acc"}
    assert all(set(entry) == fields for entry in table["op"])


def test_the_reference_is_one_exact_sum() -> None:
    assert EXACT.fidelity is Fidelity.EXACT
    assert EXACT.is_one_sum and not EXACT.but(rounding="packer").is_one_sum

import pickle

import pytest

from meshtwin.chip.errors import (
    CircularBufferClash,
    DTypeError,
    InvalidArgument,
    MeshtwinError,
    OpError,
    OutOfMemory,
    ShapeError,
    UninitializedRead,
    UnknownProduct,
    UseAfterFree,
    human_bytes,
)

EXAMPLES: list[MeshtwinError] = [
    MeshtwinError("text"),
    InvalidArgument("eps (=-1) must be >= 0", "rms_norm", 3),
    ShapeError("(2, 3) with (4,)", "add", 1),
    DTypeError("ids are float32", "embedding"),
    OpError(2, "matmul", "IndexError: 7"),
    OutOfMemory(1, "DRAM", "linear", 3 << 30, 8, 1 << 20, 1 << 19, 4 << 30, (("weights", 31),)),
    CircularBufferClash(1, "matmul", 1 << 20, 111744, 1 << 19, "scores"),
    UseAfterFree(1, "add", "'x' bfloat16[2, 3]"),
    UninitializedRead(1, "add", "'x' bfloat16[2, 3]", 6, 2),
    UnknownProduct("p30", "p300", ["p150", "p300c"]),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_type_and_fields(error: MeshtwinError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_a_wrong_argument_is_a_value_error_that_says_where() -> None:
    error = ShapeError("(2, 3) with (4,)").at("add", 1)
    assert isinstance(error, ValueError)
    assert (error.chip, error.op) == (1, "add")
    assert str(error) == "chip 1, add: (2, 3) with (4,)"


def test_out_of_memory_names_what_asked_what_is_free_and_who_holds_the_rest() -> None:
    assert str(EXAMPLES[5]) == (
        "chip 1: DRAM has no room for 'linear': it needs 24.00 GiB, 3.00 GiB in each of 8 banks, "
        "where 1.00 MiB of 4.00 GiB are free and the largest free block is 512.00 KiB (50% "
        "fragmented). Held by: weights 31 B"
    )


def test_a_clash_in_l1_names_both_sides_and_says_how_much_too_many() -> None:
    assert str(EXAMPLES[6]) == (
        "chip 1, matmul: its circular buffers take 1.00 MiB of every core, from 111744 to 1160320, "
        "but tensor 'scores' in L1 begins at 524288: 621.12 KiB too many"
    )
    assert str(CircularBufferClash(1, "matmul", 40, 10, 45, "")).endswith(
        "L1 ends at 45: 5 B too many"
    )


def test_a_wrong_read_names_tensor_and_op() -> None:
    assert str(EXAMPLES[7]) == "chip 1, add: 'x' bfloat16[2, 3] was freed"
    assert str(EXAMPLES[8]) == (
        "chip 1, add: reads 6 elements of 'x' bfloat16[2, 3], of which nothing has written 2"
    )


def test_an_unknown_product_names_the_nearest_and_all_known() -> None:
    expected = "unknown product 'p30': did you mean 'p300'? Known: p150, p300c."
    assert str(EXAMPLES[9]) == expected


def test_bytes_are_written_as_people_say_them() -> None:
    assert [human_bytes(n) for n in (0, 1023, 1024, 1 << 40)] == [
        "0 B",
        "1023 B",
        "1.00 KiB",
        "1024.00 GiB",
    ]

import pickle

import pytest

from meshtwin.chip.errors import (
    DTypeError,
    InvalidArgument,
    MeshtwinError,
    OpError,
    OutOfMemory,
    ShapeError,
    UnknownProduct,
    human_bytes,
)

EXAMPLES: list[MeshtwinError] = [
    MeshtwinError("text"),
    InvalidArgument("eps (=-1) must be >= 0", "rms_norm", 3),
    ShapeError("(2, 3) with (4,)", "add", 1),
    DTypeError("ids are float32", "embedding"),
    OpError(2, "matmul", "IndexError: 7"),
    OutOfMemory(1, 3 << 30, 1 << 20, 32 << 30, "linear", (("weights", 31 << 30), ("cache", 5))),
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
        "chip 1: DRAM has no room for 'linear': it needs 3.00 GiB, and 1.00 MiB of 32.00 GiB are "
        "free. Held by: weights 31.00 GiB, cache 5 B"
    )


def test_an_unknown_product_names_the_nearest_and_all_known() -> None:
    expected = "unknown product 'p30': did you mean 'p300'? Known: p150, p300c."
    assert str(EXAMPLES[6]) == expected


def test_bytes_are_written_as_people_say_them() -> None:
    assert [human_bytes(n) for n in (0, 1023, 1024, 1 << 40)] == [
        "0 B",
        "1023 B",
        "1.00 KiB",
        "1024.00 GiB",
    ]

"""Names of precisions."""

import re

import pytest

from meshtwin.chip.errors import DTypeError
from meshtwin.models.precision import Precision


def test_every_name_that_the_error_lists_is_taken() -> None:
    with pytest.raises(DTypeError, match="unknown precision 'bfp3_b'") as caught:
        Precision.parse("bfp3_b")
    listed = re.search("Known: (.*)[.]$", str(caught.value))
    assert listed is not None
    names = listed[1].split(", ")
    assert {"performance", "accuracy", "bfloat16", "bfp2_b", "fp8_e4m3"} <= set(names)
    assert [Precision.parse(name).name for name in names] == names

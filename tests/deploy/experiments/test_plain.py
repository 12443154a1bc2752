"""Plain values."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.experiments.plain import canonical, plain, text_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES))
def test_equal_values_have_one_text_whatever_their_order(values: dict[str, object]) -> None:
    backwards = dict(reversed(values.items()))
    assert canonical(values) == canonical(backwards)
    assert json.loads(canonical(values)) == values == plain(values)


def test_numbers_of_numpy_and_tuples_become_plain() -> None:
    found = plain({"a": np.float32(0.5), "b": (np.int64(3), np.bool_(True)), 4: np.arange(2)})
    assert canonical(found) == '{"4":[0,1],"a":0.5,"b":[3,true]}'


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="neither a number, a text, a list nor a table"):
        plain({"f": [plain]})


def test_texts_are_themselves_and_nothing_is_empty() -> None:
    assert [text_of(v) for v in ("a", None, 1.5, [1], True)] == ["a", "", "1.5", "[1]", "True"]

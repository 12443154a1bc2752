"""The words of a generation's summary."""

import pytest

from meshtwin.deploy.generate_summary import many_chips


@pytest.mark.parametrize(("num", "words"), [(1, "1 chip"), (4, "4 chips")])
def test_chips_are_counted_in_words(num: int, words: str) -> None:
    assert many_chips(num) == words

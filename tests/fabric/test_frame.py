"""Frames: what goes in comes out; anything else is a FrameError."""

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import FrameError
from meshtwin.fabric.frame import FrameHeader, decode_header, encode_header

numbers = st.integers(0, 2**63 - 1)
headers = st.builds(
    FrameHeader,
    kind=st.text(max_size=10),
    src=numbers,
    dst=numbers,
    run_id=numbers,
    tag=st.text(max_size=10),
    sequence=numbers,
    fields=st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text() | st.none()),
)


@given(headers)
def test_a_header_comes_back_as_it_was(header: FrameHeader) -> None:
    assert decode_header(encode_header(header)) == header


@given(st.binary(max_size=60))
def test_random_bytes_are_a_frame_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_header(data)


@given(headers, st.data())
def test_a_damaged_header_is_a_header_or_a_frame_error(
    header: FrameHeader, data: st.DataObject
) -> None:
    packed = bytearray(encode_header(header))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        decode_header(packed)


@pytest.mark.parametrize(
    "values",
    [
        {},
        [1, "data", 0, 1, 1, "", 0],
        [2, "data", 0, 1, 1, "", 0, {}],
        [1, b"data", 0, 1, 1, "", 0, {}],
        [1, "data", -1, 1, 1, "", 0, {}],
        [1, "data", True, 1, 1, "", 0, {}],
        [1, "data", 0, 1, 1, "", 0, []],
    ],
)
def test_a_header_of_the_wrong_shape_says_what_was_expected(values: object) -> None:
    with pytest.raises(FrameError, match="expected"):
        decode_header(msgpack.packb(values))


def test_fields_that_msgpack_cannot_carry_are_refused_at_the_sender() -> None:
    with pytest.raises(FrameError, match="msgpack"):
        encode_header(FrameHeader("data", 0, 1, 1, fields={"x": object()}))

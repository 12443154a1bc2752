"""Chunks of points."""

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.experiments.chunks import Chunks


@given(st.integers(0, 300), st.integers(1, 8), st.floats(0, 5))
def test_every_point_is_handed_out_once_in_order(
    num_points: int, num_workers: int, point_s: float
) -> None:
    points = [{"n": n} for n in range(num_points)]
    chunks, taken = Chunks(points, num_workers), []
    while chunks:
        chunk = chunks.take()
        assert chunk
        taken += chunk
        chunks.note(len(chunk), len(chunk) * point_s)
    assert taken == points


def test_a_chunk_takes_about_a_second_and_the_last_ones_are_shared() -> None:
    chunks = Chunks([{}] * 1000, num_workers=2)
    assert len(chunks.take()) == 1
    chunks.note(1, 0.05)
    assert len(chunks.take()) == 20
    chunks.note(20, 0.0)
    chunks.note(1000, 0.0)  # they turn out to take no time: half of a worker's share
    assert len(chunks.take()) == 245

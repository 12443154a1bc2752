"""Both ways round a ring: every chunk goes half round in each direction.

Each part is cut in two pieces, chunks 2p and 2p + 1 of position p. With an even number of positions
the one opposite could be reached either way: the first piece reaches it forwards, the second
backwards, so that both directions carry (n - 1) / 2n of the tensor in n // 2 rounds. That is what
tt-metal's all_gather does (all_gather_async, minimal_default_writer: split forwarding).

Reduction order: partial sums come to position c from both sides, modulo n: from B positions behind,
L = (x[c-B] + x[c-B+1]) + ... + x[c-1], and from A ahead, R = (x[c+A] + x[c+A-1]) + ... + x[c+1];
position c makes R + (L + x[c]). A is n // 2 for a first piece and (n - 1) // 2 for a second, B the
other way about. It depends on the position and the piece only, never on timing.
"""

from collections.abc import Iterator

from ..algorithm import Layout, Steps, Team, algorithm
from ..operation import Operation
from ..schedule import Step, StepKind


@algorithm(
    "bidirectional_ring",
    Layout.RING,
    Operation.ALL_REDUCE,
    Operation.REDUCE_SCATTER,
    Operation.ALL_GATHER,
    Operation.BROADCAST,
    Operation.BARRIER,
)
def bidirectional_ring(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective on a ring, in 2 * num_ranks chunks.

    reduce_scatter and all_gather take n // 2 rounds, and all_reduce is the one after the other. A
    broadcast runs from the root half round both ways, in chunks that follow one another.
    """
    n = team.num_ranks
    if operation is Operation.BROADCAST:
        return _spread(n, 2 * n, root)
    if operation is Operation.REDUCE_SCATTER:
        return _reduce_scatter(n)
    if operation is Operation.ALL_REDUCE:
        return _reduce_scatter(n) + _all_gather(n)
    return _all_gather(n)


def _reaches(n: int) -> Iterator[tuple[int, int, int, int]]:
    """(home, chunk, direction, hops): how far each chunk goes each way from its position."""
    for home in range(n):
        for piece in (0, 1):
            longer, shorter = n // 2, (n - 1) // 2
            ahead, behind = (shorter, longer) if piece else (longer, shorter)
            yield home, 2 * home + piece, -1, behind
            yield home, 2 * home + piece, 1, ahead


def _all_gather(n: int) -> list[list[Step]]:
    """In round r each chunk goes from distance r to distance r + 1, both ways."""
    return [
        [
            Step((home + way * hop) % n, (home + way * (hop + 1)) % n, chunk, StepKind.COPY)
            for home, chunk, way, hops in _reaches(n)
            if hop < hops
        ]
        for hop in range(n // 2)
    ]


def _reduce_scatter(n: int) -> list[list[Step]]:
    """The mirror of all_gather: sums go from distance d to distance d - 1, from both sides."""
    return [
        [
            Step((home + way * far) % n, (home + way * (far - 1)) % n, chunk, StepKind.REDUCE)
            for home, chunk, way, hops in _reaches(n)
            if far <= hops
        ]
        for far in range(n // 2, 0, -1)
    ]


def _spread(n: int, num_chunks: int, root: int) -> list[list[Step]]:
    """Chunk c leaves the root in round c, half round both ways, one position a round."""
    return [
        [
            Step((root + way * hop) % n, (root + way * (hop + 1)) % n, number - hop, StepKind.COPY)
            for way, hops in ((1, n // 2), (-1, (n - 1) // 2))
            for hop in range(hops)
            if 0 <= number - hop < num_chunks
        ]
        for number in range(num_chunks + n // 2 - 1 if n > 1 else 0)
    ]

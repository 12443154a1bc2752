"""Two-dimensional algorithms: first along the rows of a rectangle of chips, then along its columns.

Each axis is a ring where its links close one, else a line, and has that algorithm's reduction
order: a chunk is summed along the row of each chip first, then along the column of its owner.
"""

from itertools import zip_longest

from ..algorithm import Layout, Steps, Team, algorithm
from ..operation import Operation
from ..schedule import Step
from .line import line_all_gather, line_reduce_scatter
from .ring import ring_all_gather, ring_reduce_scatter

Rounds = list[list[Step]]


@algorithm(
    "grid",
    Layout.GRID,
    Operation.ALL_REDUCE,
    Operation.REDUCE_SCATTER,
    Operation.ALL_GATHER,
    Operation.BARRIER,
)
def grid(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective, axis by axis: all rows at once, then all columns at once.

    reduce_scatter goes along the rows first, all_gather along the columns first, so that what a
    row carries is cut in as few and large pieces as can be.
    """
    rows, columns = team.shape
    row_members = [[r * columns + c for c in range(columns)] for r in range(rows)]
    column_members = [[r * columns + c for r in range(rows)] for c in range(columns)]

    def all_rows(rounds: Rounds) -> Rounds:
        """Along every row; chunk c of it stands for the chunks of column c."""
        return _together([_embed(rounds, members, column_members) for members in row_members])

    def all_columns(rounds: Rounds) -> Rounds:
        """Along every column; chunk r of it is that of its member r."""
        return _together(
            [_embed(rounds, members, [[m] for m in members]) for members in column_members]
        )

    scatter = all_rows(_reduce_scatter(columns, team.wraps[1])) + all_columns(
        _reduce_scatter(rows, team.wraps[0])
    )
    if operation is Operation.REDUCE_SCATTER:
        return scatter
    gather = all_columns(_all_gather(rows, team.wraps[0])) + all_rows(
        _all_gather(columns, team.wraps[1])
    )
    return scatter + gather if operation is Operation.ALL_REDUCE else gather


def _reduce_scatter(n: int, wraps: bool) -> Rounds:
    return ring_reduce_scatter(n) if wraps else line_reduce_scatter(n)


def _all_gather(n: int, wraps: bool) -> Rounds:
    return ring_all_gather(n) if wraps else line_all_gather(n)


def _embed(rounds: Rounds, members: list[int], chunks: list[list[int]]) -> Rounds:
    """Steps among `members`, each carrying the chunks that its chunk stands for."""
    return [
        [
            Step(members[step.src], members[step.dst], chunk, step.kind)
            for step in steps
            for chunk in chunks[step.chunk]
        ]
        for steps in rounds
    ]


def _together(phases: list[Rounds]) -> Rounds:
    """Schedules of different chips side by side, round by round."""
    rounds = zip_longest(*phases, fillvalue=[])
    return [[step for steps in steps_of for step in steps] for steps_of in rounds]

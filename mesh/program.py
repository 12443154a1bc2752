"""What a program sees: one chip of the mesh, with its ops and its collectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ..chip.chip import Chip
from ..chip.dtype import DType
from ..chip.tensor import Tensor, tensor_spec
from ..collectives.algorithm import Algorithm
from ..collectives.communicator import Communicator
from ..collectives.operation import Operation
from ..collectives.request import Request
from ..collectives.site import call_site
from ..fabric.topology import Box
from .placement import Axis, axis_index

GroupAxis = Axis | Sequence[int]
"""None: all chips; 0, 1, "row", "col": along a mesh axis; ranks: just those chips."""


class MeshChip(Chip):
    """One chip of a mesh. A program is a plain function whose first argument is a MeshChip.

    It has every op of `Chip` and the collectives. All chips of a group must make the same
    collective calls in the same order; results are bit-identical from run to run, since the order
    of additions is fixed by the schedule (see collectives/algorithms).

    Attributes:
        rank: the number of the chip, row-major over the mesh.
        coords: (row, column).
        mesh_shape: (rows, columns).
        num_chips: rows * columns.
    """

    box: Box
    communicator: Communicator

    @property
    def coords(self) -> tuple[int, int]:
        """(row, column) of this chip."""
        return self.box.coords(self.rank)

    @property
    def mesh_shape(self) -> tuple[int, int]:
        """(rows, columns) of the mesh."""
        return self.box.shape

    @property
    def num_chips(self) -> int:
        """How many chips the mesh has."""
        return self.box.num_chips

    def all_reduce(
        self,
        x: Tensor,
        axis: GroupAxis = None,
        *,
        op: str = "sum",
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor:
        """Combine `x` over the mesh, a mesh axis or a group; every chip ends with the result.

        Args:
            x: any shape and dtype, the same on every chip of the group. bfloat16 and float16 are
                rounded at every addition, and bfp8_b and bfp4_b packed again, as they travel in
                that format; integers wrap around.
            axis: None for all chips; 0 or "row", 1 or "col" for the chips along that mesh axis; a
                list of ranks for those chips.
            op: "sum", "min", "max", "prod" or "mean".
            algorithm: a name (`meshtwin explain all_reduce` lists them), an Algorithm of your own,
                or "auto", the quickest in simulated time.
            wire_dtype: the float format in which values travel, such as "bfp8_b"; None is that of
                `x`.
            rounding: "hop" rounds to the wire dtype whatever is sent, each time; "none" takes only
                the time and bytes of the wire dtype, not its rounding.
        Raises:
            CollectiveMismatch: the chips of the group did not make the same call.
            CollectiveTimeout: a chip of the group did not come in time.
            CollectiveError: an argument is wrong; says what is legal.
        Example: four chips holding 0, 1, 2, 3 each end with 6.
        """
        return self._all(
            Request(
                Operation.ALL_REDUCE, x.spec, call_site(1), _axis(axis),
                op=op, algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
            ),
            x,
        )  # fmt: skip

    def reduce_scatter(
        self,
        x: Tensor,
        dim: int,
        axis: GroupAxis = None,
        *,
        op: str = "sum",
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor:
        """Combine `x` over the group and cut the result along tensor dim `dim`; chip i gets part i.

        The parts are those of numpy.array_split: they may differ by one, or be empty. Other
        arguments and errors: see `all_reduce`.
        """
        return self._all(
            Request(
                Operation.REDUCE_SCATTER, x.spec, call_site(1), _axis(axis), dim,
                op=op, algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
            ),
            x,
        )  # fmt: skip

    def all_gather(
        self,
        x: Tensor,
        dim: int,
        axis: GroupAxis = None,
        *,
        sizes: Sequence[int] | None = None,
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor:
        """Join the `x` of all chips of the group along tensor dim `dim`, by ascending rank.

        Args:
            sizes: of `dim` on each chip of the group, where they differ (parts that a
                reduce_scatter left, say). None: the same on all.
        """
        return self._all(
            Request(
                Operation.ALL_GATHER, x.spec, call_site(1), _axis(axis), dim,
                algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
                sizes=None if sizes is None else tuple(sizes),
            ),
            x,
        )  # fmt: skip

    def all_to_all(
        self,
        x: Tensor,
        dim: int,
        axis: GroupAxis = None,
        *,
        concat_dim: int | None = None,
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor:
        """Cut `x` along `dim`, send part i to chip i, and join what came along `concat_dim`.

        Args:
            dim: cut as by numpy.array_split.
            concat_dim: where the parts of the chips are joined, by ascending rank; None is `dim`.
        """
        return self._all(
            Request(
                Operation.ALL_TO_ALL, x.spec, call_site(1), _axis(axis), dim, concat_dim,
                algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
            ),
            x,
        )  # fmt: skip

    def broadcast(
        self,
        x: Tensor,
        root: int = 0,
        axis: GroupAxis = None,
        *,
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor:
        """Give every chip of the group the `x` of chip `root` (its rank; it must be in the group).

        Every chip passes a tensor of the same shape and dtype.
        """
        return self._all(
            Request(
                Operation.BROADCAST, x.spec, call_site(1), _axis(axis), root=root,
                algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
            ),
            x,
        )  # fmt: skip

    def reduce(
        self,
        x: Tensor,
        root: int = 0,
        axis: GroupAxis = None,
        *,
        op: str = "sum",
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor | None:
        """Combine `x` over the group; chip `root` gets the result, the others None."""
        return self.communicator.call(
            self,
            Request(
                Operation.REDUCE, x.spec, call_site(1), _axis(axis), root=root,
                op=op, algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
            ),
            x,
        )  # fmt: skip

    def gather(
        self,
        x: Tensor,
        dim: int,
        root: int = 0,
        axis: GroupAxis = None,
        *,
        sizes: Sequence[int] | None = None,
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor | None:
        """Join the `x` of all chips of the group along `dim` on chip `root`; the others get None.

        `sizes`: see `all_gather`.
        """
        return self.communicator.call(
            self,
            Request(
                Operation.GATHER, x.spec, call_site(1), _axis(axis), dim, root=root,
                algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
                sizes=None if sizes is None else tuple(sizes),
            ),
            x,
        )  # fmt: skip

    def scatter(
        self,
        x: Tensor,
        dim: int,
        root: int = 0,
        axis: GroupAxis = None,
        *,
        algorithm: str | Algorithm = "auto",
        wire_dtype: str | DType | None = None,
        rounding: str = "hop",
    ) -> Tensor:
        """Cut the `x` of chip `root` along `dim`; chip i of the group gets part i.

        Every chip passes a tensor of the same shape and dtype; only the root's values count.
        """
        return self._all(
            Request(
                Operation.SCATTER, x.spec, call_site(1), _axis(axis), dim, root=root,
                algorithm=algorithm, wire_dtype=wire_dtype, rounding=rounding,
            ),
            x,
        )  # fmt: skip

    def barrier(self, axis: GroupAxis = None, *, algorithm: str | Algorithm = "auto") -> None:
        """Wait until every chip of the group is here, in wall time and in simulated time."""
        request = Request(
            Operation.BARRIER, NO_TENSOR, call_site(1), _axis(axis), algorithm=algorithm
        )
        self.communicator.barrier(self, request)

    def send(self, x: Tensor, dst: int) -> None:
        """Send `x` to chip `dst`, over as many hops as it takes; does not wait for the receiver.

        Raises:
            CollectiveError: `dst` is not another chip of the mesh.
        """
        self.communicator.point_to_point.send(self, x, dst, call_site(1))

    def recv(self, src: int | None = None) -> Tensor:
        """The next tensor that chip `src` sent to this one, in the order of its sends.

        With None, the next one of whichever chip comes first in wall time: then values and
        simulated time may differ from run to run (`explore` shows whether they do).

        Raises:
            CollectiveTimeout: nothing came in time.
        """
        return self.communicator.point_to_point.recv(self, src, call_site(1))

    def _all(self, request: Request, x: Tensor) -> Tensor:
        """A collective that leaves a tensor on every chip."""
        return cast(Tensor, self.communicator.call(self, request, x))


NO_TENSOR = tensor_spec((0,), DType.INT32)


def _axis(axis: GroupAxis) -> int | tuple[int, ...] | None:
    if axis is None:
        return None
    if isinstance(axis, int | str):
        return axis_index(axis)
    return tuple(axis)

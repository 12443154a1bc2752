"""What a program sees: one chip of the mesh, with its ops and its collectives."""

from __future__ import annotations

from ..chip.chip import Chip
from ..chip.tensor import Tensor
from ..collectives.communicator import Communicator
from ..collectives.schedule import Operation
from ..fabric.topology import Box
from .placement import Axis, axis_index


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

    def all_reduce(self, x: Tensor, axis: Axis = None) -> Tensor:
        """Sum `x` over the mesh, or over a mesh axis; every chip ends with the sum.

        Args:
            x: any shape, the same on every chip of the group. bfloat16 is rounded at every
                addition, as it travels from chip to chip in bfloat16; integers wrap around.
            axis: None for all chips; 0 or "row", 1 or "col" for the chips along that mesh axis.
        Raises:
            CollectiveMismatch: the chips of the group did not make the same call.
            RecvTimeout: a chip of the group did not come in time.
        Example: four chips holding 0, 1, 2, 3 each end with 6.
        """
        return self._collective(Operation.ALL_REDUCE, x, axis)

    def reduce_scatter(self, x: Tensor, dim: int, axis: Axis = None) -> Tensor:
        """Sum `x` over the group and cut the sum along tensor dim `dim`; chip i gets part i.

        Raises:
            ChunkError: the size of `dim` does not divide over the group.
        """
        return self._collective(Operation.REDUCE_SCATTER, x, axis, dim)

    def all_gather(self, x: Tensor, dim: int, axis: Axis = None) -> Tensor:
        """Join the `x` of all chips of the group along tensor dim `dim`, by ascending rank."""
        return self._collective(Operation.ALL_GATHER, x, axis, dim)

    def broadcast(self, x: Tensor, root: int = 0, axis: Axis = None) -> Tensor:
        """Give every chip of the group the `x` of chip `root` (its rank; it must be in the group).

        Every chip passes a tensor of the same shape and dtype.
        """
        return self._collective(Operation.BROADCAST, x, axis, root=root)

    def barrier(self, axis: Axis = None) -> None:
        """Wait until every chip of the group is here, in wall time and in simulated time."""
        self.communicator.barrier(self, axis_index(axis))

    def _collective(
        self, operation: Operation, x: Tensor, axis: Axis, dim: int = 0, root: int = 0
    ) -> Tensor:
        return self.communicator.call(self, operation, x, axis_index(axis), dim, root)

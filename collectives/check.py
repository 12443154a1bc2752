"""What is wrong with a call whatever the algorithm: dims, roots, sizes, and blocks cut apart."""

from ..chip.dtype import BLOCK
from .call import Call
from .errors import BlockError, ChunkError, CollectiveError
from .operation import Operation


def check_call(call: Call, rank: int) -> None:
    """Check a call of chip `rank`.

    Raises:
        ChunkError: a dim that the tensor does not have.
        BlockError: the parts of a block float are not whole blocks.
        CollectiveError: the root is not in the group, or sizes that do not fit the shape.
    """
    operation, dims = call.operation, len(call.shape)
    wanted: tuple[int, ...] = (call.dim,) if operation.cuts or operation.joins else ()
    if operation is Operation.ALL_TO_ALL:
        wanted = (call.dim, call.concat_dim)
    for dim in wanted:
        if not 0 <= dim < dims:
            raise ChunkError(operation.label, call.shape, dim)
    if operation.has_root and call.root not in call.ranks:
        raise CollectiveError(
            f"{operation.label}: root {call.root} is not in the group of chip {rank}; "
            f"legal roots are {', '.join(map(str, call.ranks))}"
        )
    if call.sizes is not None:
        own = call.shape[call.dim]
        index = call.ranks.index(rank)
        if len(call.sizes) != len(call.ranks) or call.sizes[index] != own:
            raise CollectiveError(
                f"{operation.label}: sizes {list(call.sizes)} must have one size for each of the "
                f"{len(call.ranks)} chips of the group; chip {rank} has {own} along dim {call.dim}"
            )
    if call.dtype.block and wanted and dims - 1 in wanted and len(call.ranks) > 1:
        _check_blocks(call)


def _check_blocks(call: Call) -> None:
    """Raise if blocks of the last dim would be cut, or joined where the last one is not full."""
    last = len(call.shape) - 1
    cuts = call.operation.cuts and call.dim == last
    each = BLOCK * len(call.ranks) if cuts else BLOCK
    for size in call.sizes or call.shape[last:]:
        if size % each:
            raise BlockError(call.operation.label, call.dtype.label, size, each)

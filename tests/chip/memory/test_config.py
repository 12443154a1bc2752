import pickle

import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.memory.config import (
    Buffer,
    CoreRange,
    MemoryConfig,
    MemoryLayout,
    Orientation,
    ShardSpec,
    core_grid,
)

HEIGHT = MemoryLayout.HEIGHT_SHARDED
BLOCK = MemoryLayout.BLOCK_SHARDED


def test_equal_configs_are_one_object_also_after_pickling() -> None:
    shard = ShardSpec(core_grid(4), (32, 64))
    config = MemoryConfig(Buffer.L1, HEIGHT, shard)
    assert config is MemoryConfig(Buffer.L1, HEIGHT, ShardSpec(core_grid(4), (32, 64)))
    assert pickle.loads(pickle.dumps(config)) is config
    assert MemoryConfig() is MemoryConfig.DRAM
    assert MemoryConfig(Buffer.L1) is MemoryConfig.L1 is config.interleaved()
    assert (config.is_sharded, MemoryConfig.L1.is_sharded) == (True, False)


def test_a_config_says_what_it_is() -> None:
    shard = ShardSpec(core_grid(4, 2), (32, 64))
    assert repr(MemoryConfig.DRAM) == "MemoryConfig.DRAM"
    text = "MemoryConfig(L1, block_sharded, shards of 32x64 on 8 cores)"
    assert repr(MemoryConfig(Buffer.L1, BLOCK, shard)) == text


def test_cores_are_in_the_order_of_the_orientation_range_by_range() -> None:
    grid = (*core_grid(2, 2), CoreRange((5, 5), (5, 6)))
    rows = ShardSpec(grid, (32, 32)).cores()
    columns = ShardSpec(grid, (32, 32), Orientation.COL_MAJOR).cores()
    assert rows == ((0, 0), (1, 0), (0, 1), (1, 1), (5, 5), (5, 6))
    assert columns == ((0, 0), (0, 1), (1, 0), (1, 1), (5, 5), (5, 6))


def test_what_does_not_go_together_is_refused() -> None:
    shard = ShardSpec(core_grid(4), (32, 64))
    with pytest.raises(InvalidArgument, match="height_sharded needs a shard"):
        MemoryConfig(Buffer.L1, HEIGHT)
    with pytest.raises(InvalidArgument, match="interleaved takes no shard"):
        MemoryConfig(Buffer.L1, MemoryLayout.INTERLEAVED, shard)
    two = ShardSpec((*core_grid(2), *core_grid(2, 1, (0, 4))), (32, 32))
    with pytest.raises(InvalidArgument, match="expected one rectangle"):
        MemoryConfig(Buffer.L1, BLOCK, two)
    with pytest.raises(InvalidArgument, match=r"expected banks \(b, 0\)"):
        MemoryConfig(Buffer.DRAM, BLOCK, ShardSpec(core_grid(2, 2), (32, 32)))
    with pytest.raises(InvalidArgument, match="one core or more"):
        core_grid(0)
    with pytest.raises(InvalidArgument, match="a core twice"):
        ShardSpec((*core_grid(2), *core_grid(1)), (32, 32))
    with pytest.raises(InvalidArgument, match="one element or more"):
        ShardSpec(core_grid(2), (0, 32))
    with pytest.raises(InvalidArgument, match="one core or more"):
        ShardSpec((), (32, 32))

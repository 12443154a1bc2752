"""Where pages lie: against ttnn's rules, and as properties of every layout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument, ShapeError
from meshtwin.chip.memory.config import (
    Buffer,
    MemoryConfig,
    MemoryLayout,
    Orientation,
    ShardSpec,
    core_grid,
)
from meshtwin.chip.memory.footprint import Footprint
from meshtwin.chip.tensor import Layout, tensor_spec

BF16 = DType.BFLOAT16
P150 = Chip.open("p150")
N150 = Chip.open("n150")


def sharded(
    layout: str, shape: tuple[int, int], columns: int, rows: int = 1, *, dram: bool = False
) -> MemoryConfig:
    buffer = Buffer.DRAM if dram else Buffer.L1
    return MemoryConfig(
        buffer, MemoryLayout(f"{layout}_sharded"), ShardSpec(core_grid(columns, rows), shape)
    )


def of(shape: tuple[int, ...], memory: MemoryConfig, layout: Layout = Layout.TILE) -> Footprint:
    return P150.footprint(tensor_spec(shape, BF16, layout, memory))


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "bank_bytes"),
    [
        ((32, 32), BF16, Layout.TILE, 2048),  # one page, and its room in every bank
        ((32, 32 * 8), BF16, Layout.TILE, 2048),
        ((32, 32 * 9), BF16, Layout.TILE, 4096),
        ((3, 2, 5), DType.FLOAT32, Layout.TILE, 4096),  # three matrices, a tile each
        ((9, 5), BF16, Layout.ROW_MAJOR, 2 * 64),  # rows of 10 bytes, padded to 64
        ((9, 33), BF16, Layout.ROW_MAJOR, 2 * 128),
        ((7,), DType.INT32, Layout.ROW_MAJOR, 64),
        ((0, 7), BF16, Layout.TILE, 0),
        ((4, 0), BF16, Layout.ROW_MAJOR, 0),
    ],
)
def test_interleaved_pages_go_round_the_banks(
    shape: tuple[int, ...], dtype: DType, layout: Layout, bank_bytes: int
) -> None:
    chip = Chip.open("p150", plan=True)
    tensor = chip.empty(shape, dtype, layout)
    assert chip.footprint(tensor.spec).bank_bytes == bank_bytes
    assert chip.dram.used_bytes == 8 * bank_bytes
    places = list(chip.footprint(tensor.spec).places())
    assert [place.bank for place in places] == [page % 8 for page in range(len(places))]


def test_alignments_are_those_of_memory_and_architecture() -> None:
    row = tensor_spec((1, 5), BF16, Layout.ROW_MAJOR)
    in_l1 = tensor_spec((1, 5), BF16, Layout.ROW_MAJOR, MemoryConfig.L1)
    pages = [
        (chip.footprint(spec).page_bytes, chip.footprint(spec).bank_bytes)
        for chip in (P150, N150)
        for spec in (row, in_l1)
    ]
    assert pages == [(64, 64), (16, 64), (32, 32), (16, 32)]


def test_l1_of_a_core_is_what_firmware_and_kernels_leave() -> None:
    assert (P150.l1.reserved_bytes, P150.l1.free_list.size) == (111_744, 1_461_120)
    assert (N150.l1.reserved_bytes, N150.l1.free_list.size) == (103_424, 1_395_712)
    assert P150.l1.num_banks == 110
    assert P150.dram.free_list.size == 4_278_190_080 - 64
    assert Chip.open("p100a").dram.num_banks == 7


def test_height_shards_lie_one_after_the_other_and_the_last_may_be_short() -> None:
    print_ = of((5, 32, 64), sharded("height", (64, 64), 3))  # 5 x 2 tiles in shards of 2 x 2
    assert print_.bank_bytes == 4 * 2048  # the last core holds 2 tiles, and room for 4
    assert [tuple(place) for place in print_.places()] == [
        (0, 0), (0, 2048), (0, 4096), (0, 6144),
        (1, 0), (1, 2048), (1, 4096), (1, 6144),
        (2, 0), (2, 2048),
    ]  # fmt: skip
    assert print_.padding_bytes == 2 * 2048


def test_width_shards_cut_rows() -> None:
    print_ = of((64, 96), sharded("width", (64, 64), 2))
    assert [place.bank for place in print_.places()] == [0, 0, 1, 0, 0, 1]
    assert [place.offset // 2048 for place in print_.places()] == [0, 1, 0, 2, 3, 2]


def test_block_shards_go_over_a_grid_in_its_orientation() -> None:
    block = MemoryLayout.BLOCK_SHARDED
    for orientation, banks in (
        (Orientation.ROW_MAJOR, [0, 1, 11, 12]),  # core (x, y) is number 11 y + x
        (Orientation.COL_MAJOR, [0, 11, 1, 12]),
    ):
        config = MemoryConfig(Buffer.L1, block, ShardSpec(core_grid(2, 2), (32, 32), orientation))
        assert [place.bank for place in of((64, 64), config).places()] == banks


def test_dram_shards_lie_in_banks() -> None:
    print_ = of((32, 32 * 20), sharded("width", (32, 96), 8, dram=True))
    assert print_.bank_bytes == 3 * 2048
    assert [place.bank for place in print_.places()] == [page // 3 for page in range(20)]
    chip = Chip.open("p150", plan=True)
    tensor = chip.empty((32, 640), memory=sharded("width", (32, 96), 8, dram=True))
    assert chip.dram.used_bytes == 8 * 3 * 2048
    assert tensor.memory.is_sharded


def test_row_major_shards_have_pages_as_wide_as_the_shard() -> None:
    print_ = of((3, 40), sharded("width", (3, 24), 2), Layout.ROW_MAJOR)
    assert (print_.pages.count, print_.pages.nbytes, print_.page_bytes) == (6, 48, 48)
    assert [tuple(place) for place in print_.places()] == [
        (0, 0), (1, 0), (0, 48), (1, 48), (0, 96), (1, 96)
    ]  # fmt: skip
    assert print_.bank_bytes == 192  # 144, up to the alignment of buffers


@pytest.mark.parametrize(
    ("shape", "memory", "text"),
    [
        (
            (256, 64), sharded("height", (32, 64), 4),
            r"bfloat16\[256, 64\] in height_sharded shards of 32x64: dim -2 \(256 physical rows\) "
            r"over 4 cores does not go in shards of 32; the nearest that do are 64x64",
        ),
        ((64, 64), sharded("height", (40, 64), 4), "the nearest that do are 64x64"),
        ((64, 64), sharded("height", (32, 32), 4), r"dim -1 \(64 physical col.* are 32x64"),
        ((64, 64), sharded("width", (32, 32), 4), r"dim -2 .* are 64x32"),
        ((64, 256), sharded("width", (64, 20), 8), r"dim -1 .* shards of 20; .* are 64x32"),
        ((128, 128), sharded("block", (32, 32), 2, 4), r"over 2 cores .* are 32x64"),
    ],
)  # fmt: skip
def test_shards_that_do_not_hold_the_tensor_name_the_nearest_that_do(
    shape: tuple[int, ...], memory: MemoryConfig, text: str
) -> None:
    with pytest.raises(ShapeError, match=text):
        tensor_spec(shape, BF16, memory=memory)


def test_a_shard_beyond_the_chip_is_refused() -> None:
    for memory, text in (
        (sharded("height", (32, 32), 12), r"core \(11, 0\) is not there .* within 11 x 10"),
        (sharded("height", (32, 32), 9, dram=True), r"bank 8 is not there .* within 8 x 1"),
    ):
        with pytest.raises(InvalidArgument, match=text):
            P150.empty((32, 32), memory=memory)
    with pytest.raises(InvalidArgument, match=r"page 4 \(expected 0 .. 3\)"):
        of((64, 64), MemoryConfig.L1).place(4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[tuple[int, ...], Layout, MemoryConfig]:
    """A shape, a layout and a config that holds it: the nearest to one drawn at random."""
    shape = tuple(draw(st.lists(st.integers(1, 130), min_size=1, max_size=3)))
    layout = draw(st.sampled_from(Layout))
    kind = draw(st.sampled_from(MemoryLayout))
    buffer = draw(st.sampled_from(Buffer))
    if kind is MemoryLayout.INTERLEAVED:
        return shape, layout, MemoryConfig(buffer)
    rows = 1 if buffer is Buffer.DRAM else draw(st.integers(1, 10))
    grid = core_grid(draw(st.integers(1, 8)), rows)
    orientation = draw(st.sampled_from(Orientation))
    wanted = (draw(st.integers(1, 200)), draw(st.integers(1, 200)))
    for _ in range(8):
        config = MemoryConfig(buffer, kind, ShardSpec(grid, wanted, orientation))
        try:
            tensor_spec(shape, BF16, layout, config)
        except ShapeError as error:
            rows_text, columns_text = str(error).rsplit(" ", 1)[1].split("x")
            wanted = (int(rows_text), int(columns_text))
        else:
            return shape, layout, config
    raise AssertionError(f"{shape} {layout} {kind} {grid}: no legal shard was named")


@given(tensors())
def test_every_page_has_a_place_of_its_own_within_what_is_taken(
    drawn: tuple[tuple[int, ...], Layout, MemoryConfig],
) -> None:
    shape, layout, config = drawn
    print_ = of(shape, config, layout)
    places = list(print_.places())
    assert len(set(places)) == len(places) == print_.pages.count
    assert print_.pages.nbytes <= print_.page_bytes
    alignment = 64 if config.buffer is Buffer.DRAM else 16
    assert print_.page_bytes % alignment == 0 == print_.bank_bytes % 64
    for bank, offset in places:
        assert bank in print_.banks and offset % alignment == 0
        assert 0 <= offset <= print_.bank_bytes - print_.page_bytes
    if not config.is_sharded:
        full = -(-print_.pages.count // len(print_.banks)) * print_.page_bytes
        assert print_.bank_bytes == -(-full // 64) * 64
    assert print_.padding_bytes >= 0

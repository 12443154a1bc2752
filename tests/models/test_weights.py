import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import encode
from meshtwin.models.errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedModel
from meshtwin.models.weights import Checkpoint
from meshtwin.models.weights_writer import write_weights

ARRAYS: Mapping[str, np.ndarray[Any, Any]] = {
    "matrix": np.arange(35, dtype=np.float32).reshape(5, 7),
    "vector": np.arange(9, dtype=np.float32) - 4,
    "half": np.arange(12, dtype=np.float16).reshape(4, 3),
    "empty": np.zeros((0, 4), np.float32),
    "cube": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
}


@pytest.fixture(params=["single", "sharded"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoint:
    """ARRAYS in one file, or in two shards with an index."""
    if request.param == "single":
        save_file(dict(ARRAYS), tmp_path / "model.safetensors", metadata={"format": "pt"})
    else:
        write_shards(tmp_path, [["matrix", "half"], ["vector", "empty", "cube"]])
    return Checkpoint(tmp_path)


def write_shards(folder: Path, shards: list[list[str]]) -> None:
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        shard = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({name: ARRAYS[name] for name in names}, folder / shard)
        weight_map |= dict.fromkeys(names, shard)
    write_index(folder, weight_map)


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def slices(size: int) -> st.SearchStrategy[slice | None]:
    bounds = st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted)
    return st.none() | bounds.map(lambda pair: slice(*pair))


def test_names_shapes_and_dtypes_are_the_file_s(checkpoint: Checkpoint) -> None:
    assert checkpoint.names() == tuple(sorted(ARRAYS))
    assert {name: checkpoint.shape(name) for name in ARRAYS} == {
        name: array.shape for name, array in ARRAYS.items()
    }
    assert [checkpoint.dtype(name) for name in ("matrix", "half")] == ["F32", "F16"]
    assert "matrix" in checkpoint
    assert "matrices" not in checkpoint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_slice_reads_back(checkpoint: Checkpoint, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ARRAYS)))
    array = ARRAYS[name]
    rows = data.draw(slices(array.shape[0]))
    cols = data.draw(slices(array.shape[1])) if array.ndim > 1 else None
    expected = array[rows or slice(None)]
    expected = expected[:, cols] if cols else expected
    part = checkpoint.read(name, rows, cols)
    np.testing.assert_array_equal(part, expected)
    assert part.dtype == array.dtype
    assert part.flags.c_contiguous
    assert part.flags.aligned
    assert not part.flags.writeable
    wide = checkpoint.read_float32(name, rows, cols)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, expected)


def test_whole_rows_are_views_of_the_file_and_columns_are_copies(tmp_path: Path) -> None:
    write_weights(tmp_path / "model.safetensors", "F32", {"a": (4, 4)}, [np.eye(4, dtype="f4")])
    checkpoint = Checkpoint(tmp_path)
    assert not checkpoint.read("a", rows=slice(1, 3)).flags.owndata
    assert checkpoint.read("a", cols=slice(1, 3)).base is None


@given(data=st.data())
def test_bfloat16_reads_as_its_words_and_widens_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    bits = data.draw(
        st.lists(
            st.integers(0, 2**32 - 1), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
        )
    )
    values = np.array(bits, np.uint32).view(np.float32).reshape(shape)
    folder = tmp_path_factory.mktemp("bf16")
    write_weights(folder / "model.safetensors", "BF16", {"w": shape}, [values])
    checkpoint = Checkpoint(folder)
    words = encode(values, DType.BFLOAT16)
    assert checkpoint.dtype("w") == "BF16"
    assert checkpoint.read("w").dtype == np.uint16
    cols = data.draw(slices(shape[1]))
    np.testing.assert_array_equal(checkpoint.read("w", cols=cols), words[:, cols or slice(None)])
    wide = checkpoint.read_float32("w")
    np.testing.assert_array_equal(wide.view(np.uint32), words.astype(np.uint32) << 16)


def test_data_at_an_odd_offset_is_still_read(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    content = safetensors_bytes({"a": entry}, np.array([1.5, 2.5], "<f4").tobytes())
    header_bytes = len(content) - 8
    assert header_bytes % 4, "the point of the test is a header without padding"
    (tmp_path / "model.safetensors").write_bytes(content)
    part = Checkpoint(tmp_path).read("a")
    assert part.tolist() == [1.5, 2.5]
    assert part.flags.aligned


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(save(dict(ARRAYS))) - 1))
def test_a_truncated_file_is_named_with_both_sizes(tmp_path: Path, cut: int) -> None:
    whole = save(dict(ARRAYS))
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole[:cut])
    with pytest.raises(CorruptCheckpoint, match="truncated: expected") as caught:
        Checkpoint(tmp_path)
    assert caught.value.path == path
    assert f"found {cut} bytes" in str(caught.value)


def test_bytes_after_the_last_tensor_are_refused(tmp_path: Path) -> None:
    whole = save(dict(ARRAYS))
    (tmp_path / "model.safetensors").write_bytes(whole + b"x")
    with pytest.raises(CorruptCheckpoint, match=f"expected {len(whole)} bytes, found"):
        Checkpoint(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_garbled_header_is_corrupt_or_still_sound_but_nothing_else(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(save(dict(ARRAYS)))
    header_end = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, header_end - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "model.safetensors").write_bytes(content)
    try:
        checkpoint = Checkpoint(tmp_path)
        for name in checkpoint.names():
            checkpoint.read(name)
    except (CorruptCheckpoint, UnsupportedModel):
        pass


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ([], "not a JSON object"),
        ({"a": 3}, "no dtype, shape"),
        ({"a": {"dtype": "F32", "shape": [1]}}, "no dtype, shape"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, "no dtype, shape"),
        ({"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}, "impossible"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "impossible"),
        ({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}, "impossible"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, "impossible"),
        ({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, "F99"),
        ({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, "dtype"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "8 bytes, found 4"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "expected at byte"),
    ],
)
def test_a_header_that_lies_is_corrupt(tmp_path: Path, header: object, what: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(header, b"1234"))
    with pytest.raises(CorruptCheckpoint, match=what):
        Checkpoint(tmp_path)


def test_overlapping_tensors_are_corrupt(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    (tmp_path / "model.safetensors").write_bytes(
        safetensors_bytes({"a": entry, "b": entry}, b"1234")
    )
    with pytest.raises(CorruptCheckpoint, match="expected at byte"):
        Checkpoint(tmp_path)


def test_a_sound_file_of_integers_opens_but_is_not_read(tmp_path: Path) -> None:
    save_file({"ids": np.arange(3, dtype=np.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="I64"):
        Checkpoint(tmp_path).read("ids")


def test_a_missing_tensor_is_named_with_the_nearest(checkpoint: Checkpoint) -> None:
    with pytest.raises(CorruptCheckpoint, match="no tensor 'matrx'; the nearest is 'matrix'"):
        checkpoint.read("matrx")


@pytest.mark.parametrize(
    ("rows", "cols"),
    [
        (slice(0, 6), None),
        (slice(-2, None), None),
        (slice(3, 2), None),
        (slice(0, 4, 2), None),
        (None, slice(0, 8)),
    ],
)
def test_a_slice_that_reaches_outside_is_refused(
    checkpoint: Checkpoint, rows: slice | None, cols: slice | None
) -> None:
    with pytest.raises(ValueError, match=r"matrix \[5, 7\] must lie in"):
        checkpoint.read("matrix", rows, cols)


def test_a_vector_has_no_columns(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match="no dim 1"):
        checkpoint.read("vector", cols=slice(0, 1))


def test_a_pickled_checkpoint_maps_the_files_anew(checkpoint: Checkpoint) -> None:
    copy = pickle.loads(pickle.dumps(checkpoint))
    np.testing.assert_array_equal(copy.read("matrix"), ARRAYS["matrix"])


def test_arrays_outlive_a_closed_checkpoint(tmp_path: Path) -> None:
    save_file(dict(ARRAYS), tmp_path / "model.safetensors")
    with Checkpoint(tmp_path) as checkpoint:
        matrix = checkpoint.read("matrix")
    np.testing.assert_array_equal(matrix, ARRAYS["matrix"])


def test_a_file_cut_after_opening_is_noticed_at_the_first_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(dict(ARRAYS), path)
    checkpoint = Checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptCheckpoint, match="cut since it was opened"):
        [checkpoint.read(name) for name in ARRAYS]
    path.unlink()
    with pytest.raises(CheckpointNotFound, match=r"model\.safetensors"):
        Checkpoint(tmp_path)


def test_a_folder_without_weights_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"neither model\.safetensors"):
        Checkpoint(tmp_path)
    with pytest.raises(CheckpointNotFound, match="no such folder"):
        Checkpoint(tmp_path / "nowhere")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, [["matrix"], ["vector"]])
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointNotFound, match="no model-00002-of-00002"):
        Checkpoint(tmp_path)


def test_an_index_that_promises_too_much_is_corrupt(tmp_path: Path) -> None:
    save_file({"vector": ARRAYS["vector"]}, tmp_path / "a.safetensors")
    write_index(tmp_path, {"vektor": "a.safetensors"})
    with pytest.raises(CorruptCheckpoint, match="nearest is 'vector'"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("weight_map", [None, {}, [], {"a": 3}, {"a": "../a.safetensors"}])
def test_an_index_that_is_none_is_corrupt(tmp_path: Path, weight_map: object) -> None:
    write_index(tmp_path, weight_map)
    with pytest.raises(CorruptCheckpoint, match=r"index\.json"):
        Checkpoint(tmp_path)

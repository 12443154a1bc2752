"""Where two results of a program differ, to the bit."""

import dataclasses
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.tensor import Tensor


def difference(good: Any, bad: Any, where: str = "the result") -> str | None:
    """The first place where `bad` is not `good`, in words; None when they are equal.

    Tensors, arrays and floats are compared by their bits, so NaN equals NaN and 0.0 is not -0.0;
    containers, dataclasses and plain objects by what they hold; anything else by ==.
    """
    if type(good) is not type(bad):
        return f"{where} is a {type(bad).__name__}, not a {type(good).__name__}"
    if isinstance(good, Tensor):
        if good.spec is not bad.spec or good.storage is None or bad.storage is None:
            return None if good.spec is bad.spec else f"{where} is {bad.spec}, not {good.spec}"
        return _array_difference(good.storage, bad.storage, where, (good, bad))
    if isinstance(good, np.ndarray | np.generic):
        return _array_difference(np.asarray(good), np.asarray(bad), where)
    if isinstance(good, float):
        same = struct.pack("=d", good) == struct.pack("=d", bad)
        return None if same else _not_equal(where, bad, good)
    if isinstance(good, Mapping):
        return _mapping_difference(good, bad, where)
    if isinstance(good, list | tuple):
        if len(good) != len(bad):
            return f"{where} has {len(bad)} items, not {len(good)}"
        pairs = enumerate(zip(good, bad, strict=True))
        return _first(difference(a, b, f"{where}[{index}]") for index, (a, b) in pairs)
    if dataclasses.is_dataclass(good):
        names = [field.name for field in dataclasses.fields(good)]
        return _first(
            difference(getattr(good, name), getattr(bad, name), f"{where}.{name}") for name in names
        )
    if not _compares(good):  # == would only say that they are two objects
        return _mapping_difference(vars(good), vars(bad), where) if _has_fields(good) else None
    return None if good == bad else _not_equal(where, bad, good)


def _array_difference(
    good: NDArray[Any],
    bad: NDArray[Any],
    where: str,
    tensors: tuple[Tensor, Tensor] | None = None,
) -> str | None:
    if good.dtype != bad.dtype or good.shape != bad.shape:
        return f"{where} is {bad.dtype}{list(bad.shape)}, not {good.dtype}{list(good.shape)}"
    if good.dtype.hasobject:
        return difference(good.tolist(), bad.tolist(), where)
    if good.tobytes() == bad.tobytes():
        return None
    differs = (_bytes_of(good) != _bytes_of(bad)).any(axis=1)
    index = tuple(int(i) for i in np.unravel_index(int(differs.argmax()), good.shape))
    if tensors is not None:
        good, bad = (tensor.to_numpy() for tensor in tensors)
    first = _not_equal(f"element {index}", bad[index], good[index])
    return f"{where} differs in {differs.sum()} of {differs.size} elements: {first}"


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(array.tobytes(), np.uint8).reshape(array.size, array.itemsize)


def _mapping_difference(good: Mapping[Any, Any], bad: Mapping[Any, Any], where: str) -> str | None:
    if good.keys() != bad.keys():
        return f"{where} has the keys {list(bad)}, not {list(good)}"
    return _first(difference(good[key], bad[key], f"{where}[{key!r}]") for key in good)


def _has_fields(value: Any) -> bool:
    return hasattr(value, "__dict__") and not callable(value)


def _compares(value: Any) -> bool:
    own: object = type(value).__eq__
    return own is not object.__eq__


def _not_equal(where: str, bad: Any, good: Any) -> str:
    return f"{where} is {bad!r:.80}, not {good!r:.80}"


def _first(differences: Any) -> str | None:
    return next((one for one in differences if one is not None), None)

"""One tree of errors: each survives the way through Ray by type, with its fields and its text."""

import inspect
import pickle
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
from ray import cloudpickle

from meshtwin.chip.errors import MeshtwinError

for floor in ("chip", "fabric", "collectives", "mesh", "models", "deploy"):
    import_module(f"meshtwin.{floor}.errors")

VALUES = {
    "tuple[int, int]": (0, 1),
    "tuple[tuple[int, int], ...]": ((4, 1), (2, 2)),
    "tuple[tuple[int, tuple[int, ...], str], ...]": ((0, (1,), "all_reduce"),),
    "int": 3,
    "float": 1.5,
    "bytes": b"x",
    "str": "text",
    "tuple[int, ...]": (6, 4),
    "tuple[str, ...]": ("one", "two"),
    "Sequence[str]": ("one", "two"),
    "Sequence[tuple[str, int]]": (("weights", 5),),
}


def every_error(root: type[MeshtwinError]) -> Iterator[type[MeshtwinError]]:
    """The class and all classes under it."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)


def example(kind: type[MeshtwinError]) -> MeshtwinError:
    """An instance with a plausible value in each field, chosen by the field's annotation."""
    if kind.__init__ is Exception.__init__ or "__init__" not in vars(kind):
        parents = [base for base in kind.__mro__ if "__init__" in vars(base)]
        if not issubclass(parents[0], MeshtwinError):
            return kind("what was wrong")
    parameters = list(inspect.signature(kind).parameters.values())
    return kind(*[_value(str(p.annotation)) for p in parameters])


def _value(annotation: str) -> object:
    for word in annotation.removeprefix("<class '").removesuffix("'>").split(" | "):
        name = word.replace("collections.abc.", "")
        if name in VALUES:
            return VALUES[name]
    raise AssertionError(f"no example for a field of type {annotation}: add one to VALUES")


ERRORS = {kind.__name__: kind for kind in every_error(MeshtwinError)}


@pytest.mark.parametrize("name", sorted(ERRORS))
@pytest.mark.parametrize("library", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_an_error_survives_pickling(name: str, library: ModuleType) -> None:
    kind = ERRORS[name]
    error = example(kind)
    again = pickle.loads(library.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert str(error)
    assert vars(again) == vars(error)


def test_names_of_errors_are_unique() -> None:
    kinds = set(every_error(MeshtwinError))
    assert len(ERRORS) == len(kinds)

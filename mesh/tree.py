"""Walking the nested tuples, lists and dicts that programs take and return."""

from collections.abc import Callable, Sequence
from typing import Any


class TreesDiffer(Exception):
    """Trees that should be nested alike are not: args are the index of the first that differs."""


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting of tuples, lists and dicts with `function` applied to everything else."""
    if isinstance(tree, dict):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if _is_sequence(tree):
        return _like(tree, [map_leaves(function, item) for item in tree])
    return function(tree)


def zip_leaves(function: Callable[[tuple[Any, ...]], Any], trees: Sequence[Any]) -> Any:
    """One tree whose leaves are `function` of the leaves at that place in each of `trees`.

    Raises:
        TreesDiffer: the trees differ in nesting.
    """
    first = trees[0]
    for index, tree in enumerate(trees):
        if _shape(tree) != _shape(first):
            raise TreesDiffer(index)
    if isinstance(first, dict):
        return {key: zip_leaves(function, [tree[key] for tree in trees]) for key in first}
    if _is_sequence(first):
        columns = zip(*trees, strict=True)
        return _like(first, [zip_leaves(function, column) for column in columns])
    return function(tuple(trees))


def _is_sequence(tree: Any) -> bool:
    """Is it a list, a tuple or a named tuple? Other subclasses are leaves."""
    return type(tree) in (tuple, list) or (isinstance(tree, tuple) and hasattr(tree, "_make"))


def _like(tree: Any, items: list[Any]) -> Any:
    """A sequence of the type of `tree`."""
    return getattr(tree, "_make", type(tree))(items)


def _shape(tree: Any) -> object:
    if isinstance(tree, dict):
        return ("dict", tuple(tree))
    if _is_sequence(tree):
        return (type(tree).__name__, len(tree))
    return "leaf"

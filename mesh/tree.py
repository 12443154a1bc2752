"""Walking the nested tuples, lists and dicts that programs take and return."""

from collections.abc import Callable
from typing import Any


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting of tuples, lists and dicts with `function` applied to everything else."""
    if isinstance(tree, dict):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)([map_leaves(function, item) for item in tree])
    return function(tree)


def zip_leaves(function: Callable[[tuple[Any, ...]], Any], trees: list[Any]) -> Any:
    """One tree whose leaves are `function` of the leaves at that place in each of `trees`.

    Raises:
        ValueError: the trees differ in nesting; args are the index of the first that differs.
    """
    first = trees[0]
    for index, tree in enumerate(trees):
        if _shape(tree) != _shape(first):
            raise ValueError(index)
    if isinstance(first, dict):
        return {key: zip_leaves(function, [tree[key] for tree in trees]) for key in first}
    if type(first) in (tuple, list):
        columns = zip(*trees, strict=True)
        return type(first)([zip_leaves(function, list(column)) for column in columns])
    return function(tuple(trees))


def _shape(tree: Any) -> object:
    if isinstance(tree, dict):
        return ("dict", tuple(tree))
    if type(tree) in (tuple, list):
        return (type(tree).__name__, len(tree))
    return "leaf"

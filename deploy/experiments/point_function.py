"""The function of a sweep: the planner, or one of the user's, which travels to workers as text."""

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ...chip.errors import did_you_mean, nearest_name
from .stamp import digest_of

Function = Callable[..., Mapping[str, Any]]
EVALUATE = Path(__file__).with_name("evaluate.py")
SWEEP_NAMES = ("grid", "limits", "name", "charts")
"""What a sweep's Python file may define besides its function: changing it changes no result."""


@dataclass(frozen=True, slots=True)
class PointFunction:
    """A function from values to a dict of results; empty `source`: the planner.

    Attributes:
        name: of the function in the source.
        path: of the file, for tracebacks and for imports of files beside it.
    """

    name: str
    path: str = ""
    source: str = ""

    @property
    def digest(self) -> str:
        """Differs when the file's code does: comments and the grid do not count."""
        if not self.source:
            return digest_of(EVALUATE.read_text(encoding="utf-8"))
        tree = ast.parse(self.source)
        tree.body = [node for node in tree.body if not _is_of_sweep(node)]
        return digest_of(self.name + ast.dump(tree))

    def load(self) -> Function:
        """The function itself; the file is run once a process."""
        if not self.source:
            from .evaluate import evaluate

            return lambda **values: evaluate(values)
        found: Function = getattr(module_of(self.path, self.source), self.name)
        return found


PLANNER = PointFunction("plan")


@cache
def module_of(path: str, source: str) -> ModuleType:
    """The file as a module of its own. Files beside it can be imported, where they are there."""
    module = ModuleType(f"meshtwin_sweep_{digest_of(path + source)}")
    module.__file__ = path
    folder = str(Path(path).absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def wrong_name(function: Function, names: list[str]) -> tuple[str, str] | None:
    """The first name the function does not take, or takes and lacks, and what is wrong with it."""
    parameters = inspect.signature(function).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in names:
            if name not in parameters:
                hint = did_you_mean(nearest_name(name, list(parameters)))
                return name, f"the function takes no {name!r}{hint} Known: {', '.join(parameters)}."
    for name, parameter in parameters.items():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_named and parameter.default is parameter.empty and name not in names:
            return "grid", f"the function needs {name!r}, and the grid has none"
    return None


def _is_of_sweep(node: ast.stmt) -> bool:
    """Is this statement the docstring or an assignment to one of the sweep's own names?"""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return bool(targets) and all(
        isinstance(target, ast.Name) and target.id in SWEEP_NAMES for target in targets
    )

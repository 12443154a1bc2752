"""Pictures as PNG."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from meshtwin.deploy.errors import MissingExtra
from meshtwin.deploy.experiments import png
from meshtwin.deploy.experiments.draw import figures

from .pictures import PLANS


def test_each_figure_is_a_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = figures(PLANS, ["model", "tp", "batch", "prompt"])
    paths = png.write_pngs(tmp_path, "plans", drawn)
    assert [path.stem for path in paths] == [figure.name for figure in drawn]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def finds_nothing(name: str) -> None:
        return None

    monkeypatch.setattr(png, "find_spec", finds_nothing)
    drawn: Sequence[object] = ()
    with pytest.raises(MissingExtra, match=r"needs matplotlib.*pip install 'meshtwin\[plots\]'"):
        png.write_pngs(Path(), "none", drawn)  # type: ignore[arg-type]

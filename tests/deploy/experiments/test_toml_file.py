"""Sweeps in TOML: what they mean, and at which line they are wrong."""

from pathlib import Path

import pytest

from meshtwin.deploy.errors import SweepFileError
from meshtwin.deploy.experiments.toml_lines import line_of

from .lab import SQUARES, sweep_of

OWN = """\
[sweep]
name = "squares"
function = "lab.py:point"
charts = [["n", "square"]]

[grid]
n = [
    1,
    2,  # and so on
]
scale = [1, 5]

[limits]
scale = { below = 3 }
square = { above = 2 }
"""


def wrong(folder: Path, text: str) -> tuple[int, str]:
    (folder / "lab.py").write_text(SQUARES)
    with pytest.raises(SweepFileError) as caught:
        sweep_of(folder, text, "lab.toml")
    assert str(caught.value).startswith(f"{folder / 'lab.toml'}:{caught.value.line}: ")
    return caught.value.line, caught.value.what


def test_a_file_names_a_function_a_grid_limits_and_charts(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(SQUARES)
    sweep = sweep_of(tmp_path, OWN, "lab.toml")
    assert sweep.name == "squares"
    assert sweep.points == ({"n": 1, "scale": 1}, {"n": 2, "scale": 1})  # scale 5 is outside
    assert [limit.name for limit in sweep.limits] == ["scale", "square"]
    assert sweep.charts == (("n", "square"),)
    assert sweep.function.load()(n=2, scale=3)["square"] == 12


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("[grid]", "[gird]", 6, "unknown section 'gird': did you mean 'grid'?"),
        ("name =", "nmae =", 2, "unknown key of [sweep] 'nmae': did you mean 'name'?"),
        ("    2,", "    2 3,", 9, "no TOML"),
        ("scale = [1, 5]", "sclae = [1, 5]", 11, "no 'sclae': did you mean 'scale'?"),
        ("scale = [1, 5]", "scale = 5", 11, "scale (=5) must be a list of values"),
        ("lab.py:point", "lab.py:pont", 3, "defines no 'pont'"),
        ("lab.py:point", "lap.py:point", 3, "No such file"),
        ("lab.py:point", "plam", 3, "unknown function 'plam': did you mean 'plan'?"),
        ("above = 2", "abov = 2", 15, "unknown bound 'abov': did you mean 'above'?"),
        ('[["n", "square"]]', '["n", "square"]', 4, "charts must be pairs of names"),
        ("n = [", "m = [", 7, "no 'm'"),
    ],
)
def test_a_mistake_is_found_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    assert old in OWN
    found_line, found = wrong(tmp_path, OWN.replace(old, new, 1))
    assert what in found
    assert found_line == line


PLAN = """\
[grid]
model = ["{path}"]
box = ["galaxy",
       "quietbox2"]
dp = [1, 2]

[strong]
chips = [2, 4]
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ('"quietbox2"', '"quietbx2"', 4, "quietbox2"),
        ("dp = [1, 2]", "dp = [1, 0]", 5, "dp must be a whole number, 1 or more, and is 0"),
        ("dp = [1, 2]", "bach = [1, 2]", 5, "no 'bach': did you mean 'batch'?"),
        ("dp = [1, 2]", "dp = [1, 3]", 8, "2 chips are no multiple of dp = 3"),
        ("dp = [1, 2]", "tp = [1]", 8, "'tp' grows with the chips"),
        ("chips = [2, 4]", "chips = [1,\n true]", 9, "chips must hold whole numbers"),
        ("chips = [2, 4]", 'chips = [2]\nby = "pp"', 9, 'must be "tp" or "dp"'),
        ("[strong]", "[limits]\nsim_tft_ms = {}\n[strong]", 8, "did you mean 'sim_ttft_ms'?"),
        ("[grid]", "sweep.charts = [['chps', 'tp']]\n[grid]", 1, "did you mean 'chips'?"),
        ("model = ", "precision = ", 1, "the planner needs a model"),
    ],
)
def test_the_planner_checks_its_values(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    pytest.importorskip("meshtwin.models.catalogue")
    text = PLAN.replace("{path}", "llama-3.1-8b")
    found_line, found = wrong(tmp_path, text.replace(old, new, 1))
    assert what in found
    assert found_line == line


@pytest.mark.parametrize(
    "line",
    [
        "set.link.gbps = [100, 200]",
        '"set.link.gbps" = [100, 200]',
        'set."link.gbps" = [100, 200]',
        "set = { link = { gbps = [100, 200] } }",
    ],
)
def test_constants_are_swept_however_their_names_are_spelled(tmp_path: Path, line: str) -> None:
    charts = '[sweep]\ncharts = [["set.link.gbps", "sim_ttft_ms"]]\n'
    text = f'{charts}[grid]\nmodel = ["llama-3.1-8b"]\n{line}\n'
    points = sweep_of(tmp_path, text, "links.toml").points
    assert points == tuple({"model": "llama-3.1-8b", "set.link.gbps": n} for n in (100, 200))


def test_several_constants_are_changed_at_once(tmp_path: Path) -> None:
    tables = '[{}, {"link.gbps" = 200, "slow_link" = "0-1:0.5"}]'
    text = f'[grid]\nmodel = ["llama-3.1-8b"]\nset = {tables}\n'
    points = sweep_of(tmp_path, text, "links.toml").points
    assert [point["set"] for point in points] == [{}, {"link.gbps": 200, "slow_link": "0-1:0.5"}]


@pytest.mark.parametrize(
    ("new", "line", "what"),
    [
        ("set.link.gps = [100]", 5, "no constant 'link.gps': did you mean 'link.gbps'?"),
        ("set.link.gbps = [100,\n 0]", 6, "link.gbps (=0) must be a number, 0.001 or more"),
        ('set = [{"link.gps" = 1}]', 5, "did you mean 'link.gbps'?"),
        ("set.link.gbps = 100", 5, "must be a list of values"),
    ],
)
def test_a_wrong_constant_is_found_at_its_line(
    tmp_path: Path, new: str, line: int, what: str
) -> None:
    text = PLAN.replace("{path}", "llama-3.1-8b").replace("dp = [1, 2]", new)
    found_line, found = wrong(tmp_path, text)
    assert what in found
    assert found_line == line


def test_lines_are_found_in_every_spelling() -> None:
    text = '[ a ]\n"x" = ["u", 12,\n  2, "v.w"]\na.y = 3\n[b.c]\nz = 1\n[d]\nx = 2\n'
    assert line_of(text, "a", "x", 2) == 3
    assert line_of(text, "a", "x", "v.w") == 3
    assert line_of(text, "a", "x", "missing") == 2
    assert line_of(text, "d", "x") == 8
    assert line_of(text, "b", "c") == 5
    assert line_of(text, "", "d") == 7
    assert line_of(text, "nowhere", "x") == 1

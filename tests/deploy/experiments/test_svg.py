"""Pictures as SVG, and the page that has them."""

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.experiments.draw import figures
from meshtwin.deploy.experiments.figures import Bars, Chart, HeatMap, Series
from meshtwin.deploy.experiments.html import write_html
from meshtwin.deploy.experiments.svg import HEIGHT, WIDTH, drawn, hot

from .pictures import PLANS

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("model", "tp", "batch", "prompt")
NUMBERS = st.floats(1e-3, 1e9)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9), st.booleans())
def test_all_of_a_chart_is_inside_the_picture(spots: list[tuple[float, float]], log: bool) -> None:
    xs, ys = zip(*sorted(spots), strict=True)
    band = tuple((y / 2, y * 2) for y in ys)
    series = Series("a & b", xs, ys, ("<hint>",) * len(xs), band)
    text = drawn(Chart("c", "Simulated <c>", "x", "y", (series,), log_x=log, log_y=log))
    root = ET.fromstring(text)
    assert root.find(f"{SVG}text").text == "Simulated <c>"  # type: ignore[union-attr]
    circles = list(root.iter(f"{SVG}circle"))
    assert len(circles) == len(spots)
    for circle in circles:
        assert 0 < float(circle.attrib["cx"]) < WIDTH
        assert 0 < float(circle.attrib["cy"]) < HEIGHT
    (polygon,) = root.iter(f"{SVG}polygon")
    heights = [float(spot.split(",")[1]) for spot in polygon.attrib["points"].split()]
    assert min(heights) > 0 and max(heights) < HEIGHT
    ticks = [t for t in root.iter(f"{SVG}text") if "end" in t.attrib["class"]]
    rows = sorted(float(tick.attrib["y"]) for tick in ticks)
    assert all(b - a > 11 for a, b in itertools.pairwise(rows))  # labels do not touch


def test_bars_and_heat_maps_say_their_numbers() -> None:
    bars = drawn(Bars("b", "t", "share", ("one", "two"), {"dram": (0.25, 1.0), "x": (0.75, 0.0)}))
    assert "one\ndram: 25.0 %" in bars
    rects = list(ET.fromstring(bars).iter(f"{SVG}rect"))
    widths = [float(rect.attrib["width"]) for rect in rects if rect.attrib["height"] == "22"]
    assert widths[0] + widths[2] == pytest.approx(widths[1] + widths[3], abs=0.3)
    heat = drawn(HeatMap("h", "t", "to", "from", "bytes", 32, {(0, 31): 5.0, (3, 4): 10.0}))
    assert "0 to 31: 5 bytes" in heat
    assert hot(1.0) in heat and hot(0.5) in heat


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    rows = [*PLANS, {"model": "<b>", "tp": 3, "error": "ValueError: a < b"}]
    about = {
        "points": len(rows), "failed": 1, "versions": {"meshtwin": "1"}, "constants_digest": "ab",
    }  # fmt: skip
    path = write_html(tmp_path / "r.html", "my <lab>", figures(rows, NAMES), NAMES, rows, about)
    text = path.read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert re.search(r"\.band\{[^}]*stroke-dasharray", text)  # edges tell bands apart that overlap
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {SVG.strip("{}")}
    assert "my &lt;lab&gt;" in text and "ValueError: a &lt; b" in text
    assert text.count("<tr") == len(rows) + 1

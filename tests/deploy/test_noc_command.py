"""`meshtwin noc` as a user calls it."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from meshtwin.chip.noc import Noc
from meshtwin.chip.noc.patterns import PATTERNS
from meshtwin.chip.spec import load_product
from meshtwin.deploy.cli import main
from meshtwin.deploy.noc_svg import drawn_svg, heat
from meshtwin.deploy.noc_text import drawn_text

SVG = "{http://www.w3.org/2000/svg}"


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(["noc", *argv, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_draws_the_grid_of_a_product(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noc", "--product", "p150"]) == 0
    out = capsys.readouterr().out
    assert "Blackhole p150 card (p150), NoC0: right, then down" in out
    assert " 2 D1  w   w   w   w   w   w   x   S   D5  x   w   w   w   w   w   t" in out
    assert " 1 D0  E   E   E   E   x   E   E   +   D4  E   E   E   E   x   E   E" in out


def test_a_drawing_has_a_letter_for_every_tile() -> None:
    for product, workers in (("p150", 110), ("galaxy", 120), ("n300", 56), ("galaxy_wh", 64)):
        noc = Noc(load_product(product))
        text = drawn_text(noc, 0, []).plain
        assert text.count("w") == workers
        tensix = sum(core.is_harvested for core in noc.floorplan.cores)
        assert text.count("x") == tensix


def test_links_are_drawn_where_the_data_goes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noc", "--write", "15,10->1,10:64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("10 "))
    assert row.startswith("10 D1━━w   w")  # right of (0, 10), and over the edge from (16, 10)
    assert row.endswith("w ━━t ━━")
    assert main(["noc", "--noc", "1", "--write", "1,10->15,10:64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("10 ")) == row


def test_transfers_are_timed_alone_and_together(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--read", "d0->w0,0:16Kx8", "--read", "d0->w0,1:16Kx8", "--multicast"]
    found = answer(capsys, *argv, "w0,0->w0,0..w1,1:4K")
    reads = found["transfers"][:2]
    assert [read["hops"] for read in reads] == [29, 12 + 17]
    assert all(read["sim_done_ps"] > 1.8 * read["sim_latency_ps"] for read in reads)
    assert found["transfers"][2]["dsts"] == [[1, 2], [2, 2], [1, 3], [2, 3]]
    assert main(["noc", *argv, "w0,0->w0,0..w1,1:4K"]) == 0
    out = capsys.readouterr().out
    assert "read       0,11  1,2" in out
    assert "multicast  1,2   1,2..2,3" in out
    assert "3 transfers of 266240 bytes in all, done at" in out
    assert "busiest link: 0,11->1,11, 262144 bytes of 2 transfers" in out


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_is_drawn_and_summed_up(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--pattern", name, "--bytes", "2K", "--transactions", "4", "--noc", "1")
    assert len(found["links"]) > 0
    assert len(found["cores"]) == 17 * 12
    assert found["sim_done_ps"] == max(t["sim_done_ps"] for t in found["transfers"])
    assert main(["noc", "--pattern", name]) == 0
    out = capsys.readouterr().out
    assert f"{len(found['transfers'])} transfers of " in out
    assert ("The 16 slowest are listed" in out) is (len(found["transfers"]) > 16)


def test_the_picture_is_well_formed_and_has_a_tile_and_a_title_for_every_core(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "traffic.svg"
    assert main(["noc", "--pattern", "all-from-dram", "--noc", "1", "--svg", str(path)]) == 0
    capsys.readouterr()
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert sum(title.startswith("worker, NoC0") for title in titles) == 110
    assert any(title.endswith(" bytes") for title in titles)
    assert "href" not in path.read_text(encoding="utf-8")  # self-contained


def test_the_busiest_link_is_the_widest_and_reddest() -> None:
    noc = Noc(load_product("n150"))
    moves = [noc.write((1, 1), (3, 1), 64, 4), noc.write((2, 1), (3, 1), 64, 4)]
    root = ET.fromstring(drawn_svg(noc, 0, moves, ["two writes"]))
    lines = [line for line in root.iter(f"{SVG}line") if line.get("stroke")]
    assert [line.get("stroke") for line in lines] == [heat(0.5), heat(1)]
    assert [line.get("stroke-width") for line in lines] == ["5.5", "9.0"]
    assert (heat(0), heat(1)) == ("#fbbf78", "#b00c20")


def test_the_model_is_shown_beside_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noc", "--measured"]) == 0
    out = capsys.readouterr().out
    assert "adjacent readers" in out
    assert "mean error" in out
    assert main(["noc", "--measured", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["arch"] for row in rows} == {"blackhole", "wormhole_b0"}


def test_misuse_names_what_is_legal(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, text in (
        (["--product", "p15"], "did you mean 'p150'"),
        (["--pattern", "rows"], "did you mean 'row'"),
        (["--read", "d0"], "write SRC->DST:BYTES"),
        (["--read", "d0->w11,0:64"], "the nearest is (10, 0)"),
        (["--read", "d9->w1,0:64"], "the nearest is 7"),
        (["--write", "w0,0->7,4:64"], "the nearest is (6, 4)"),
        (["--write", "w0,0->w1,0:none"], "is not a size"),
        (["--write", "w0,0->w1,0:64x0"], "not a whole number"),
        (["--multicast", "w0,0->w1,0:64"], "no rectangle"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["noc", *argv])
        assert stop.value.code == 2
        assert text in capsys.readouterr().err

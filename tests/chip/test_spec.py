import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pytest

from meshtwin.chip.errors import InvalidArgument, UnknownProduct
from meshtwin.chip.spec import KINDS, Constant, load_product, products, read_constants

GOOD: Mapping[str, Any] = {"value": 1, "unit": "B", "kind": "measured", "source": "a document"}


@pytest.mark.parametrize("missing", GOOD)
def test_a_constant_without_value_unit_kind_or_source_is_refused(missing: str) -> None:
    fields = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(InvalidArgument, match="here: rate needs value, unit, kind and source"):
        read_constants({"rate": fields}, "here")
    with pytest.raises(InvalidArgument, match="here: rate needs"):
        read_constants({"rate": 5}, "here")


@pytest.mark.parametrize(
    "wrong",
    [{"value": "1"}, {"value": True}, {"unit": " "}, {"kind": "guessed"}, {"source": ""}],
    ids=str,
)
def test_a_constant_must_say_something_in_each_field(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="a constant's"):
        Constant(**{**GOOD, **wrong})


def test_a_chip_can_be_had_with_other_constants() -> None:
    chip = load_product("p150")
    other = chip.but({"clock_hz": 10**9, "grid_columns": 4})
    assert (other.clock_hz, other.grid) == (10**9, (4, chip.grid[1]))
    assert other.constants["clock_hz"].value == 10**9
    assert other.but({"clock_hz": chip.clock_hz, "grid_columns": chip.grid[0]}) == chip
    assert load_product("p150") is chip and chip.clock_hz == 1_350_000_000


def test_every_number_of_the_data_files_says_where_it_is_from() -> None:
    data = files("meshtwin.chip") / "data"
    paths = [path for path in data.iterdir() if path.name.endswith(".toml")]
    assert {path.name for path in paths} >= {"products.toml", "costs.toml"}
    paths = [path for path in paths if path.name != "op_numerics.toml"]  # no numbers: a record
    found = [fields for path in paths for fields in _leaves(tomllib.loads(path.read_text()))]
    assert len(found) > 30
    for fields in found:
        constant = Constant(**fields)
        assert constant.kind in KINDS


def _leaves(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every table of numbers; a bare number anywhere is an error. Lists are as good as numbers."""
    if "value" in table:
        return [table]
    if "list" in table:
        return [{"value": len(table["list"]), "unit": "list"} | _without(table, "list")]
    leaves = []
    for name, entry in table.items():
        if isinstance(entry, dict):
            leaves += _leaves(entry)
        else:
            assert name in ("title", "arch", "aliases"), f"{name} = {entry!r} has no source"
    return leaves


def _without(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != name}


def test_products_have_the_cores_and_memory_of_their_boards() -> None:
    cores = {name: spec.num_cores for name, spec in products().items()}
    assert cores == {
        "p100a": 110,
        "p150": 110,
        "p300c": 110,
        "galaxy_bh": 120,
        "n150": 64,
        "n300": 56,
        "galaxy_wh": 64,
    }
    p300c, p100a = load_product("p300c"), load_product("p100a")
    assert p300c.dram_capacity_bytes == 8 * (4_278_190_080 - 64)
    assert p100a.dram_capacity_bytes == 7 * (4_278_190_080 - 64)
    assert p300c.constants["clock_hz"].kind == "documented"
    assert (p300c.clock_hz, load_product("n150").clock_hz) == (1_350_000_000, 1_000_000_000)


def test_a_product_is_found_by_alias_in_any_case() -> None:
    assert load_product("P300") is load_product("p300c")
    assert load_product("BH-Galaxy") is load_product("galaxy_bh")


def test_an_unknown_product_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownProduct, match=r"unknown product 'p1500': did you mean 'p150\w?'"):
        load_product("p1500")
    with pytest.raises(UnknownProduct, match=r"unknown product 'h100'[.:]"):
        load_product("h100")

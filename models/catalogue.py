"""Shapes of known models, by name (data/catalogue.toml), for plans: no weights."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..chip.errors import nearest_name
from .config import DecoderConfig, read_json
from .errors import UnknownShape
from .hugging_face import read_config, translate

OWN_FIELDS = ("source", "aliases", "note")


@cache
def known_models() -> Mapping[str, Mapping[str, Any]]:
    """The entries of the catalogue, by name: the fields of a config.json, and our own."""
    text = (files(__package__) / "data" / "catalogue.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def model_shape(name: str) -> DecoderConfig:
    """The shape of a model: a name of the catalogue, a Hugging Face folder, or a config.json.

    Names are taken in any case; "-instruct" at the end, the organisation before "/" and "_" for
    "-" do not matter.

    Raises:
        UnknownShape: no such name, and no such path; names the nearest.
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel: of a folder or a file.
    """
    path = Path(name)
    if path.is_dir():
        return read_config(path)
    if path.is_file():
        return translate(read_json(path))
    wanted = name.lower().rpartition("/")[2].replace("_", "-").removesuffix("-instruct")
    entries = known_models()
    names = {alias: entry for entry, e in entries.items() for alias in (entry, *_aliases(e))}
    if wanted not in names:
        raise UnknownShape(name, nearest_name(wanted, list(names)), tuple(entries))
    entry = entries[names[wanted]]
    return translate({key: value for key, value in entry.items() if key not in OWN_FIELDS})


def _aliases(entry: Mapping[str, Any]) -> list[str]:
    aliases: list[str] = entry.get("aliases", [])
    return aliases

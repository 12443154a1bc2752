"""Shapes of known models, by name (data/catalogue.toml), for plans: no weights."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..chip.errors import nearest_name
from .config import DecoderConfig
from .errors import UnknownShape, UnknownShapePath
from .hugging_face import read_config, read_config_file, translate

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
        UnknownShapePath: the same of what looks like a path.
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel: of a folder or a file.
    """
    path = Path(name)
    if name and path.is_dir():
        return read_config(path)
    if path.is_file():
        return read_config_file(path)
    entry = _entry(name)
    return translate({key: value for key, value in entry.items() if key not in OWN_FIELDS})


def model_note(name: str) -> str:
    """What the catalogue says beside the shape of a model; "" where it says nothing.

    Raises:
        UnknownShape: as `model_shape`.
    """
    if Path(name).exists():
        return ""
    return str(_entry(name).get("note", ""))


def _entry(name: str) -> Mapping[str, Any]:
    """The entry of a name, however people write it."""
    wanted = name.lower().rpartition("/")[2].replace("_", "-").removesuffix("-instruct")
    entries = known_models()
    names = {alias: entry for entry, e in entries.items() for alias in (entry, *_aliases(e))}
    if wanted in names:
        return entries[names[wanted]]
    nearest = names.get(nearest_name(wanted, list(names)), "")
    error = UnknownShapePath if _is_like_a_path(name) else UnknownShape
    raise error(name, nearest, tuple(entries))


def _is_like_a_path(name: str) -> bool:
    """It has a separator, begins with "." or "~", or ends as a file does."""
    return bool(re.search(r"[/\\]|^[.~]|\.[a-zA-Z]{2,}$", name))


def _aliases(entry: Mapping[str, Any]) -> list[str]:
    aliases: list[str] = entry.get("aliases", [])
    return aliases

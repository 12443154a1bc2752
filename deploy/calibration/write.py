"""Writing fitted constants into the data files they are shipped in, comments kept."""

import re
from importlib.resources import files
from pathlib import Path

from .place import Place, Values


def write(values: Values, tables: str) -> list[Path]:
    """Rewrite the constants in chip/data: value, and where it was not fitted before, kind and
    source.

    Args:
        tables: what they were fitted to.
    Returns: the files.
    Raises:
        OSError: meshtwin is not installed where files can be written.
    """
    texts: dict[Path, str] = {}
    for place, value in values.items():
        path = Path(str(files("meshtwin.chip") / "data" / place.file))
        text = texts.get(path) or path.read_text(encoding="utf-8")
        texts[path] = rewritten(text, place, value, tables)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def rewritten(text: str, place: Place, value: float, tables: str) -> str:
    """The text of a data file with one constant's value replaced.

    Raises:
        ValueError: the text has no such constant.
    """
    pattern = (
        rf"(?m)^(\[{re.escape(place.table)}\]\nvalue = )(?P<value>.*)(\nunit = .*\nkind = )"
        r'(?P<kind>.*)(\nsource = ")(?P<source>.*)"$'
    )
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"{place.file} has no [{place.table}] of value, unit, kind and source")
    kind, source = found["kind"], found["source"]
    if not source.startswith("fitted"):
        kind, source = '"inferred"', f"fitted to {tables}"
    head, middle, end = found[1], found[3], found[5]
    new = f'{head}{value:g}{middle}{kind}{end}{source}"'
    return text[: found.start()] + new + text[found.end() :]

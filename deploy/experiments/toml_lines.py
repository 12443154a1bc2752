"""Lines of a TOML file: tomllib says where a syntax error is, and not where a value stands."""

import json
import re
from typing import Any

HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+")
KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")


def line_of(text: str, section: str, key: str, value: Any = None) -> int:
    """The line of a value of a key of a section (empty: of the file), counted from 1.

    The key's line where the value is not found as it is spelled, the section's where the key is
    not, else 1.
    """
    lines = text.splitlines()
    begin, end, found = _section(lines, section)
    for number in range(begin, end):
        names = _key(lines[number])
        if names is None:
            continue
        if names == key or (not section and names.split(".")[0] == key):
            return _value(lines, number, value) + 1
    if not section:
        for number, line in enumerate(lines):
            header = HEADER.match(line)
            if header and _plain(header[1]).split(".")[0] == key:
                return number + 1
    for number, line in enumerate(lines):  # as `section.key = value`, or `section.key` as a header
        header = HEADER.match(line)
        if f"{section}.{key}" in (_key(line), _plain(header[1]) if header else None):
            return _value(lines, number, value) + 1
    return found


def _section(lines: list[str], section: str) -> tuple[int, int, int]:
    """First and last line of a section's body, from 0, and the line of its header, from 1."""
    matches = [(number, HEADER.match(line)) for number, line in enumerate(lines)]
    headers = [(number, _plain(match[1])) for number, match in matches if match]
    # a line of numbers in an array is no header
    headers = [(number, name) for number, name in headers if re.fullmatch(r"[\w.-]+", name)]
    ends = [number for number, _ in headers[1:]] + [len(lines)]
    if not section:
        return 0, headers[0][0] if headers else len(lines), 1
    for (number, name), end in zip(headers, ends, strict=False):
        if name == section:
            return number + 1, end, number + 1
    return 0, 0, 1


def _value(lines: list[str], number: int, value: Any) -> int:
    """The line of a value, at or after its key's line, before the next key."""
    if value is None:
        return number
    spelled = {json.dumps(value), f"'{value}'", str(value).lower()}
    whole = re.compile("|".join(rf"(?<![\w.]){re.escape(text)}(?![\w.])" for text in spelled))
    for at in range(number, len(lines)):
        if at > number and (_key(lines[at]) or HEADER.fullmatch(lines[at].strip())):
            break
        after = lines[at].split("=", 1)[1] if at == number and "=" in lines[at] else lines[at]
        if whole.search(after.split("#")[0]):
            return at
    return number


def _key(line: str) -> str | None:
    match = KEY.match(line)
    return _plain(match[1]) if match else None


def _plain(name: str) -> str:
    return re.sub(r"[\"']|\s", "", name)

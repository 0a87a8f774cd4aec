"""A file or folder appears under its name when it is whole, and what was there before stays until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from roiextractors_core.io import atomic, write_then_rename


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with write_then_rename(tmp_path / "a.txt") as partial:
        assert partial.name == "a.txt"
        partial.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), write_then_rename(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        partial.with_name("a.txt.json").write_text("half")
        raise error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old"}


def test_files_written_next_to_it_come_along(tmp_path: Path) -> None:
    (tmp_path / "a.txt.json").write_text("old")
    with write_then_rename(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        partial.with_name("a.txt.json").write_text("new too")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "new", "a.txt.json": "new too"}


@pytest.mark.parametrize("old", ["file", "folder", "link"])
def test_a_folder_replaces_what_was_there(tmp_path: Path, old: str) -> None:
    target, elsewhere = tmp_path / "a", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.txt").write_text("kept")
    if old == "file":
        target.write_text("old")
    elif old == "folder":
        target.mkdir()
        (target / "old.txt").write_text("old")
    else:
        target.symlink_to(elsewhere, target_is_directory=True)
    with write_then_rename(target) as partial:
        partial.mkdir()
        (partial / "new.txt").write_text("new")
    assert not target.is_symlink()
    assert [path.name for path in target.iterdir()] == ["new.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "elsewhere"]
    assert (elsewhere / "kept.txt").read_text() == "kept"


def test_a_folder_that_cannot_be_replaced_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.mkdir()
    (target / "old.txt").write_text("old")
    rename = Path.rename

    def failing(self: Path, other: Path) -> Path:
        if other == target and not other.exists() and self.name == "a":
            raise PermissionError("in use")
        return rename(self, other)

    with pytest.raises(PermissionError), write_then_rename(target) as partial:
        partial.mkdir()
        monkeypatch.setattr(Path, "rename", failing)
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    monkeypatch.undo()
    assert (target / "old.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing was written"), write_then_rename(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []

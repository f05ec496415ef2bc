import os
from pathlib import Path

import pytest

from training import files


def test_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, steps = tmp_path / "file", list[str]()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        what = Path(f"/proc/self/fd/{descriptor}").readlink().name
        steps.append(f"{what}, {'renamed' if path.exists() else 'not yet renamed'}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    files.write_whole(path, lambda unfinished: unfinished.write_text("text"))
    assert path.read_text() == "text"
    assert steps == ["unfinished-file, not yet renamed", f"{tmp_path.name}, renamed"]


def test_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def write(unfinished: Path) -> None:
        unfinished.write_text("hal")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_whole(path, write)
    assert path.read_text() == "before"

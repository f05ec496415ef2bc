import shutil
from pathlib import Path

import pytest

from training import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, whose digests are not kept."""
    folder = Path(shutil.copytree(sources.PACKAGE, tmp_path / "training"))
    monkeypatch.setattr(sources, "PACKAGE", folder)
    monkeypatch.setattr(sources, "digest", sources.digest.__wrapped__)
    return folder


def test_digest_changes_with_a_source_in_a_folder(package: Path) -> None:
    before = sources.digest("data")
    assert len(before) == sources.DIGITS
    (package / "presets.py").write_text("")
    (package / "data" / "picture_files" / "notes.txt").touch()
    assert sources.digest("data") == before
    with (package / "data" / "picture_files" / "png.py").open("a") as file:
        file.write("# other\n")
    assert sources.digest("data") != before


def test_digest_changes_with_a_file_that_is_named(package: Path) -> None:
    before = sources.digest("presets.py", "train")
    (package / "presets.py").write_text("")
    assert sources.digest("presets.py", "train") != before

from pathlib import Path

import pytest

from training.data import dataset
from training.data.kaggle import KaggleCsv
from training.data.reader import Classes, Raw, SplitName
from training.presets import ResizeRule

RULE = ResizeRule()


def test_second_read_comes_from_the_cache(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataset.load(kaggle, 32, RULE)
    monkeypatch.setattr("pandas.read_csv", None)
    second = dataset.load(kaggle, 32, RULE)
    assert second.fingerprint == first.fingerprint
    assert second.classes == first.classes


def test_changed_file_is_read_again(kaggle: Path) -> None:
    first = dataset.load(kaggle, 32, RULE)
    lines = (kaggle / "train.csv").read_text().splitlines()
    (kaggle / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    second = dataset.load(kaggle, 32, RULE)
    assert len(second.train) + len(second.validation) == 119
    assert second.fingerprint != first.fingerprint


def test_damaged_cache_is_read_again(kaggle: Path, cache: Path) -> None:
    first = dataset.load(kaggle, 32, RULE)
    for path in cache.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    assert dataset.load(kaggle, 32, RULE).fingerprint == first.fingerprint


def test_cache_that_cannot_be_written_is_no_error(
    kaggle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setattr("training.data.cache.platformdirs.user_cache_dir", lambda _: str(blocked))
    assert len(dataset.load(kaggle, 32, RULE).train) == 108
    assert "not cached" in capsys.readouterr().out


def test_changed_sources_read_again(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.load(kaggle, 32, RULE)
    reads: list[str] = []
    read = KaggleCsv.read

    def note(reader: KaggleCsv, split: SplitName, classes: Classes = None) -> Raw:
        reads.append(split)
        return read(reader, split, classes)

    monkeypatch.setattr(KaggleCsv, "read", note)
    dataset.load(kaggle, 32, RULE)
    assert reads == []
    monkeypatch.setattr("training.sources.digest", lambda *names: f"other {names}")
    dataset.load(kaggle, 32, RULE)
    assert reads == ["train", "test"]
    monkeypatch.setattr("PIL.__version__", "99.0")
    dataset.load(kaggle, 32, RULE)
    assert reads == ["train", "test"] * 2


def test_without_platformdirs_the_files_are_read_each_time(
    kaggle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(cache.iterdir())
    monkeypatch.setattr("training.data.cache.platformdirs", None)
    assert len(dataset.load(kaggle, 32, RULE).train) == 108
    assert set(cache.iterdir()) == before

"""Keys, and files of them that change."""

import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.admission.keys import FRESH_S, Keys
from tests.service.admission.test_rate_limit import Clock


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is looked up once the file is read again, however busy the machine is."""
    monkeypatch.setattr("service.admission.keys.PATIENCE_S", 60)


def test_every_one_of_several_keys_is_known() -> None:
    keys = Keys([SecretStr("first"), SecretStr("second")], None)
    assert keys.find("first")
    assert keys.find("second")
    assert keys.find("first") != keys.find("second")
    assert not keys.find("third")
    assert not keys.find("")


@pytest.mark.usefixtures("patient")
def test_keys_in_a_file_rotate_without_a_restart(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "keys"
    file.write_text("# since May\nold\n\n")
    keys = Keys([SecretStr("lasting")], file, clock)
    assert keys.find("old")
    file.write_text("new\n")
    clock.now += FRESH_S
    assert keys.find("new")
    assert keys.find("lasting")
    assert not keys.find("old")
    assert not keys.find("# since May")


@pytest.mark.usefixtures("patient")
def test_emptied_file_locks_everyone_out(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "keys"
    file.write_text("old")
    keys = Keys([], file, clock)
    file.write_text("")
    clock.now += FRESH_S
    assert not keys.find("old")
    assert keys.configured


def test_file_that_hangs_leaves_its_keys_and_holds_no_more_than_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file, volume = Clock(), tmp_path / "keys", threading.Event()
    file.write_text("old")
    keys = Keys([], file, clock)

    def hang(_file: Path) -> tuple[SecretStr, ...]:
        assert volume.wait(10)
        return (SecretStr("new"),)

    monkeypatch.setattr("service.admission.keys.read_keys", hang)
    started = time.monotonic()
    for _ in range(100):
        clock.now += FRESH_S
        assert keys.find("old")
    assert time.monotonic() - started < 10
    assert [
        "does not answer yet" in str(record.__dict__["fields"]) for record in caplog.records
    ] == [True]
    volume.set()
    keys._reader.join(10)
    assert keys.find("new")


@pytest.mark.usefixtures("patient")
def test_file_that_vanishes_leaves_its_keys_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file = Clock(), tmp_path / "keys"
    file.write_text("old")
    keys = Keys([], file, clock)
    file.unlink()
    clock.now += FRESH_S
    assert keys.find("old")
    (record,) = caplog.records
    assert str(file) in record.__dict__["fields"]["reason"]

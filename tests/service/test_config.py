"""Settings from the environment, and the CPUs that may be used."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config import Settings, available_cpus


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_PORT", "9000")
    monkeypatch.setenv("CIFAR10_REQUIRE_CUDA", "1")
    monkeypatch.setenv("CIFAR10_MODEL_VERSION", "3")
    monkeypatch.setenv("CIFAR10_THREADS", "7")
    monkeypatch.setenv("CIFAR10_CORS_ORIGINS", "https://a.example, https://b.example")
    settings = Settings()
    assert (settings.port, settings.require_cuda, settings.version) == (9000, True, 3)
    assert settings.thread_count == 7
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_PORT", "")
    monkeypatch.setenv("CIFAR10_MODEL_VERSION", "latest")
    assert Settings().port == 8000
    assert Settings().version is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70000), ("provider", "tpu"), ("threads", 0), ("model_version", 0), ("max_batch", 0)],
)
def test_value_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000"}, 16),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "3200000 100000"}, 16),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        ({"cpu.max": "nonsense"}, 16),
    ],
)
def test_quota_of_the_container_bounds_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    assert available_cpus(write(tmp_path, files)) == expected

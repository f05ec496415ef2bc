"""Settings from the environment."""


import pytest
from pydantic import ValidationError

from service import config
from service.config import Settings


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


@pytest.mark.parametrize(
    ("memory", "driver", "given", "workers", "threads"),
    [
        (64e9, False, {}, 8, 1),
        (2e9, False, {}, 7, 2),
        (0.5e9, False, {}, 1, 8),
        (64e9, False, {"workers": 3}, 3, 3),
        (64e9, False, {"workers": 2, "threads": 1}, 2, 1),
        (64e9, True, {}, 1, 8),
        (64e9, True, {"provider": "cpu"}, 8, 1),
        (64e9, False, {"provider": "cuda"}, 1, 8),
    ],
)
def test_workers_and_threads_follow_cpus_memory_and_provider(
    monkeypatch: pytest.MonkeyPatch,
    memory: float,
    driver: bool,
    given: dict[str, object],
    workers: int,
    threads: int,
) -> None:
    monkeypatch.setattr(config, "available_cpus", lambda: 8)
    monkeypatch.setattr(config, "available_memory", lambda: memory)
    monkeypatch.setattr(config, "nvidia_driver_visible", lambda: driver)
    settings = Settings.model_validate(given)
    assert (settings.worker_count, settings.thread_count) == (workers, threads)

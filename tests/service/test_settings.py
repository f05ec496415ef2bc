"""Settings from the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, explain


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
    for name in ("PORT", "REQUIRE_CUDA", "RATE_LIMIT"):
        monkeypatch.setenv(f"CIFAR10_{name}", "")
    monkeypatch.setenv("CIFAR10_MODEL_VERSION", "latest")
    assert Settings() == Settings.model_construct()
    assert Settings().version is None


@pytest.mark.parametrize(
    ("value", "served"),
    [(None, ("*",)), ("", ()), (" , ", ()), ("pets@1, *", ("pets@1", "*"))],
)
def test_empty_list_of_models_is_the_default_model_alone(
    monkeypatch: pytest.MonkeyPatch, value: str | None, served: tuple[str, ...]
) -> None:
    if value is not None:
        monkeypatch.setenv("CIFAR10_SERVED", value)
    assert Settings().served == served


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70000),
        ("provider", "tpu"),
        ("threads", 0),
        ("model_version", 0),
        ("max_batch", 0),
        ("variant", "../model.onnx"),
        ("variant", "int8"),
    ],
)
def test_value_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


@pytest.mark.parametrize(
    ("memory", "driver", "given", "workers", "threads"),
    [
        (64e9, False, {}, 8, 1),
        (2e9, False, {}, 3, 3),
        (0.5e9, False, {}, 1, 8),
        (64e9, False, {"workers": 3}, 3, 3),
        (64e9, False, {"workers": 2, "threads": 1}, 2, 1),
        (64e9, True, {}, 2, 4),  # in front of a GPU
        (64e9, True, {"provider": "cpu"}, 8, 1),
        (64e9, False, {"provider": "cuda"}, 2, 4),
        (3e9, False, {"provider": "cuda"}, 1, 8),
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
    monkeypatch.setattr("service.settings.available_cpus", lambda: 8)
    monkeypatch.setattr("service.settings.available_memory", lambda: memory)
    monkeypatch.setattr("service.hardware.nvidia_driver_visible", lambda: driver)
    settings = Settings.model_validate(given)
    assert (settings.worker_count, settings.thread_count) == (workers, threads)


@pytest.mark.parametrize(("cpus", "workers"), [(2, 1), (7, 1), (8, 2), (16, 4), (64, 4)])
def test_workers_in_front_of_a_gpu_follow_the_cpus(
    monkeypatch: pytest.MonkeyPatch, cpus: int, workers: int
) -> None:
    monkeypatch.setattr("service.settings.available_cpus", lambda: cpus)
    monkeypatch.setattr("service.settings.available_memory", lambda: 64e9)
    assert Settings(provider="cuda").worker_count == workers


@pytest.mark.parametrize(
    ("model_bytes", "workers"),
    [(0, 3), (10_000_000, 2), (100_000_000, 1), (10_000_000_000, 1)],
)
def test_workers_have_room_for_two_snapshots(
    monkeypatch: pytest.MonkeyPatch, model_bytes: int, workers: int
) -> None:
    monkeypatch.setattr("service.settings.available_cpus", lambda: 8)
    monkeypatch.setattr("service.settings.available_memory", lambda: 2e9)
    monkeypatch.setattr("service.hardware.nvidia_driver_visible", lambda: False)
    assert Settings().workers_for(model_bytes) == workers
    assert Settings(workers=3).workers_for(model_bytes) == 3


@pytest.mark.parametrize(
    ("cpus", "memory", "settings", "threads"),
    [
        (8, 2e9, {}, 1),  # in each of 3 workers
        (8, 64e9, {"workers": 1}, 8),
        (8, 2e9, {"workers": 1, "threads": 16}, 6),
        (8, 2e9, {"workers": 8}, 1),
        (64, 4.3e9, {"provider": "cuda"}, 3),  # in each of 2 workers
        (8, 1e9, {}, 1),
    ],
)
def test_large_pictures_are_decoded_by_as_many_threads_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
    cpus: int,
    memory: float,
    settings: dict[str, object],
    threads: int,
) -> None:
    monkeypatch.setattr("service.settings.available_cpus", lambda: cpus)
    monkeypatch.setattr("service.settings.available_memory", lambda: memory)
    monkeypatch.setattr("service.hardware.nvidia_driver_visible", lambda: False)
    assert Settings.model_validate(settings).large_picture_threads == threads


def test_pending_bytes_are_divided_and_one_body_always_fits() -> None:
    for workers, share in [(1, 256_000_000), (4, 64_000_000), (100, 20_000_000)]:
        assert Settings(workers=workers).pending_bytes_per_worker == share


def test_keys_are_read_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("in-the-file")
    monkeypatch.setenv("CIFAR10_API_KEYS", "first, second")
    monkeypatch.setenv("CIFAR10_ADMIN_KEYS_FILE", str(file))
    settings = Settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["first", "second"]
    assert settings.has_keys
    assert "first" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize("key", ["two words", "\u00e9", "a\tb", "a\0b"])
def test_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"api_keys": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize("name", ["api_keys", "admin_keys", "api_keys_file", "admin_keys_file"])
@pytest.mark.parametrize("value", ["", " , "])
def test_variable_for_keys_that_holds_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CIFAR10_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_file_of_keys_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        Settings(api_keys_file=tmp_path / "none")


@pytest.mark.parametrize("rate", ["100", "0/minute", "1/week", "many/minute", "1.5/hour"])
def test_odd_rate_is_refused(rate: str) -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings.model_validate({"api_keys": "key", "rate_limit": rate})


def test_rate_limit_needs_keys_to_count_by() -> None:
    with pytest.raises(ValidationError, match="api_keys"):
        Settings(rate_limit="100/minute")


@pytest.mark.parametrize(
    ("given", "most"),
    [({}, 64), ({"max_queue": 16}, 16), ({"max_queue": 16, "max_files": 5}, 5)],
)
def test_batch_has_no_more_pictures_than_may_wait(given: dict[str, int], most: int) -> None:
    assert Settings.model_validate(given).max_files == most


def test_setting_of_two_types_is_explained_once() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"model_version": "newest", "port": "http"})
    assert explain(caught.value) == (
        "port: Input should be a valid integer, unable to parse string as an integer; "
        "model_version: Input should be a valid integer, unable to parse string as an integer, "
        "or 'latest'"
    )


def test_models_of_the_working_directory_go_before_those_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = Settings().models
    assert [path.name for path in packaged.iterdir() if path.is_dir()] == ["cifar10"]
    (tmp_path / "models").mkdir()
    assert Settings().models == Path("models")
    monkeypatch.setenv("CIFAR10_MODELS", "others")
    assert Settings().models == Path("others")


def test_grpc_without_its_extra_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(grpc_port=8001).grpc_port == 8001
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert Settings().grpc_port is None
    with pytest.raises(ValidationError) as caught:
        Settings(grpc_port=8001)
    assert "grpc_port: " in explain(caught.value)
    assert "pip install '.[grpc]'" in explain(caught.value)

"""A replica of Ray Serve, with Ray's decorators and actors replaced by nothing.

`tests/e2e/ray` has the real ones.
"""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.errors import EngineFailedError, StartupError
from tests.service.conftest import FakeEngine, colour
from tests.service.models import write_model

MODULES = ("ray", "ray.serve", "ray.serve.metrics", "service.cluster.ray")


def fake_ray() -> list[ModuleType]:
    """What `service.cluster.ray` uses of Ray: a class stays as it is, and a gauge takes values."""
    ray, serve, metrics = (ModuleType(name) for name in MODULES[:3])

    def deployment(**_options: object) -> Any:  # noqa: ANN401
        def keep(cls: Any) -> Any:  # noqa: ANN401
            cls.bind = staticmethod(lambda: None)
            return cls

        return keep

    context = SimpleNamespace(get_assigned_resources=lambda: {"CPU": 1.0})
    ray.__dict__.update(serve=serve, get_runtime_context=lambda: context)
    serve.__dict__.update(deployment=deployment, ingress=lambda: lambda cls: cls, metrics=metrics)
    gauge = SimpleNamespace(set=lambda _value, _tags: None)
    metrics.__dict__.update(Gauge=lambda _name, **_options: gauge)
    return [ray, serve, metrics]


@pytest.fixture
def replica_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    for name, module in zip(MODULES, fake_ray(), strict=False):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, MODULES[-1], raising=False)
    monkeypatch.setenv("CIFAR10_MODELS", str(tmp_path))
    monkeypatch.setenv("CIFAR10_MODEL", "tiny")
    module = importlib.import_module(MODULES[-1])
    monkeypatch.setattr(module, "configure", lambda *_: None)  # the test's own log stays
    yield module.Replica
    sys.modules.pop(MODULES[-1])


async def start(replica_class: Any) -> Any:  # noqa: ANN401
    """Constructs a replica as Ray does."""
    replica = replica_class.__new__(replica_class)
    await replica.__init__()
    return replica


def test_replica_answers_as_the_service_does(replica_class: Any, tmp_path: Path) -> None:  # noqa: ANN401
    write_model(tmp_path)
    replica = asyncio.run(start(replica_class))
    with TestClient(replica.__serve_build_asgi_app__()) as client:
        assert client.get("/health/ready").status_code == 200
        answer = client.post("/predict", content=colour("blue")).json()
    assert (answer["model"], answer["predictions"][0]["label"]) == ("tiny", "blue")
    assert replica._folder.exists()
    replica.__del__()
    assert not replica._folder.exists()


def test_replica_without_a_model_does_not_start(replica_class: Any) -> None:  # noqa: ANN401
    with pytest.raises(StartupError, match="'tiny'"):
        asyncio.run(start(replica_class))


def test_replica_is_well_until_its_self_test_fails(replica_class: Any, tmp_path: Path) -> None:  # noqa: ANN401
    write_model(tmp_path)

    async def check() -> None:
        replica = await start(replica_class)
        await replica.check_health()
        engine = FakeEngine()
        engine.error = EngineFailedError("CUDA is lost")
        (model,) = replica._snapshot.loaded
        model.classifier.engine = engine
        with pytest.raises(EngineFailedError, match="CUDA is lost"):
            await replica.check_health()
        replica._model_server.fault = "stuck"
        with pytest.raises(RuntimeError, match="stuck"):
            await replica.check_health()

    asyncio.run(check())

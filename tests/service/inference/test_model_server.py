"""Loading, serving, replacing and losing a model."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI

from service.errors import (
    EngineFailedError,
    LoadFailedError,
    ModelRefusedError,
    NotReadyError,
    QueueFullError,
)
from service.http.app import create_app
from service.inference.classifier import Observer
from service.inference.model_server import ModelServer
from service.inference.served_model import LOAD_ALL, Change
from service.inference.snapshot import Snapshot
from service.settings import Settings
from tests.service.conftest import FakeEngine, colour, fake_model, keep_busy, running, snapshot_of
from tests.service.models import write_model

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., FastAPI]


async def test_pictures_that_do_not_all_fit_are_not_computed(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    async with running(make_app(max_queue=2)) as model_server:
        busy = await keep_busy(model_server, engine)
        with pytest.raises(QueueFullError):
            model_server.submit(model_server.find(), [colour("blue")] * 3)
        engine.go.set()
        await busy
    assert engine.batches == [1]


async def test_stop_answers_the_queue_and_refuses_more(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    async with running(make_app()) as model_server:
        waiting = model_server.submit(model_server.find(), [colour("blue")] * 3)
    assert [(await answer).top(1)[0].label for answer in waiting] == ["blue"] * 3
    with pytest.raises(RuntimeError, match="closed"):
        model_server.submit(model_server.find(), [colour("blue")])
    assert model_server.status == "draining"
    assert sum(engine.batches) == 3


class Versions:
    """Loads one version after another of the fake model, each with an engine of its own."""

    def __init__(self) -> None:
        self.engines: list[FakeEngine] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def __call__(
        self, settings: Settings, _order: object, _before: object, observe: Observer
    ) -> Snapshot:
        assert self.go.wait(10)
        if self.error:
            raise self.error
        self.engines.append(FakeEngine())
        version = len(self.engines)
        return snapshot_of(fake_model(self.engines[-1], settings, observe, version=version))


@pytest.fixture
def versions() -> Versions:
    return Versions()


def app_of(versions: Versions) -> FastAPI:
    settings = Settings(threads=1)
    return create_app(settings, ModelServer(settings, versions))


async def test_request_keeps_the_version_that_it_began_with(versions: Versions) -> None:
    async with running(app_of(versions)) as model_server:
        old = model_server.find()
        busy = await keep_busy(model_server, versions.engines[0])
        (before,) = model_server.submit(old, [colour("blue")])
        await model_server.change()
        (late,) = model_server.submit(old, [colour("blue")])  # its request began before the load
        (after,) = model_server.submit(model_server.find(), [colour("blue")])
        versions.engines[0].go.set()
        await asyncio.gather(busy, before, late, after)
        assert model_server.find().version == 2
    first, second = versions.engines
    assert (sum(first.batches), sum(second.batches)) == (3, 1)


async def test_old_version_is_freed_once_unused(versions: Versions) -> None:
    async with running(app_of(versions)) as model_server:
        old = weakref.ref(model_server.find().classifier)
        await model_server.submit(model_server.find(), [colour("blue")])[0]
        await model_server.change()
        await model_server.submit(model_server.find(), [colour("blue")])[0]
        gc.collect()
        assert old() is None


async def test_version_that_cannot_be_loaded_changes_nothing(versions: Versions) -> None:
    async with running(app_of(versions)) as model_server:
        versions.error = ModelRefusedError("It is damaged.")
        with pytest.raises(LoadFailedError, match="damaged"):
            await model_server.change()
        assert model_server.find().version == 1
        assert model_server.status == "ok"


async def test_model_that_is_refused_after_it_has_served_keeps_its_version_of_before(
    tmp_path: Path,
) -> None:
    for name in ("pets", "birds"):
        write_model(tmp_path, name)
    settings = {"models": tmp_path, "model": "pets", "provider": "cpu"}
    model_server = ModelServer(Settings.model_validate(settings))
    await model_server.change()
    served = model_server.find("pets")
    file = write_model(tmp_path, "pets", 2) / "model.onnx"
    good = file.read_bytes()
    file.write_bytes(b"damaged")
    write_model(tmp_path, "birds", 2)
    for change in (LOAD_ALL, Change(frozenset(["pets"]))):
        with pytest.raises(LoadFailedError, match="sha256"):
            await model_server.change(change)
        assert model_server.find("pets") is served
        assert model_server.find("birds").version == 2
        assert model_server.status == "degraded"
        assert str(model_server.reason).startswith(f"pets: {file} has not the sha256")
    file.write_bytes(good)
    await model_server.change(Change(frozenset(["pets"])))
    assert model_server.find("pets").version == 2
    assert (model_server.status, model_server.reason) == ("ok", None)


@pytest.mark.parametrize("leaves", [0, 1])
async def test_changes_at_the_same_time_are_made_one_after_the_other(
    versions: Versions, leaves: int
) -> None:
    """Also those whose client has left, while they are made or wait."""
    async with running(app_of(versions)) as model_server:
        versions.go.clear()
        changes = [asyncio.create_task(model_server.change()) for _ in range(3)]
        await asyncio.sleep(0.01)
        changes.pop(leaves).cancel()
        await asyncio.sleep(0.05)
        versions.go.set()
        assert await asyncio.gather(*changes) == [None, None]
        assert model_server.find().version == len(versions.engines) == 4


async def test_unexpected_error_of_the_first_load_is_logged_and_kept(
    versions: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    versions.error = RuntimeError("broken")
    app = app_of(versions)
    async with app.router.lifespan_context(app):
        while not caplog.records:
            await asyncio.sleep(0.01)
        assert app.state.model_server.status == "loading"
    assert [record.message for record in caplog.records] == ["unhandled error"]


async def test_dropped_version_is_not_served_when_its_load_ends(versions: Versions) -> None:
    async with running(app_of(versions)) as model_server:
        versions.go.clear()
        preparing = asyncio.create_task(model_server.prepare(LOAD_ALL))
        await asyncio.sleep(0.01)
        model_server.drop()
        versions.go.set()
        assert (await preparing).find().version == 2
        with pytest.raises(AssertionError):
            model_server.commit()
        assert model_server.find().version == 1


async def test_engine_that_fails_on_every_picture_is_a_fault(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    async with running(make_app()) as model_server:
        engine.error = EngineFailedError("CUDA failed: an illegal memory access was encountered")
        with pytest.raises(NotReadyError):
            await model_server.submit(model_server.find(), [colour("blue")])[0]
        assert model_server.status == "failed"
        assert model_server.reason == "CUDA failed: an illegal memory access was encountered"
        with pytest.raises(NotReadyError, match="cannot be computed"):
            model_server.find()


async def test_engine_that_fails_once_is_no_fault(
    make_app: MakeApp, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_images: object) -> None:
        monkeypatch.undo()
        raise EngineFailedError("out of memory")

    async with running(make_app()) as model_server:
        monkeypatch.setattr(engine, "run", fail)
        with pytest.raises(NotReadyError):
            await model_server.submit(model_server.find(), [colour("blue")])[0]
        assert model_server.status == "ok"
        await model_server.submit(model_server.find(), [colour("blue")])[0]


async def test_stuck_thread_is_a_fault_and_fails_what_waits(
    make_app: MakeApp, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.model_server.WATCH_S", 0.01)
    async with running(make_app(stuck_s=0.05)) as model_server:
        model = model_server.find()  # the fault may be found before the next line has ended
        busy = await keep_busy(model_server, engine)
        (waiting,) = model_server.submit(model, [colour("blue")])
        for future in (busy, waiting):
            with pytest.raises(NotReadyError):
                await future
        assert model_server.status == "failed"
        assert "compute-0 has been stuck" in str(model_server.reason)
        engine.go.set()


async def test_process_that_was_paused_is_not_stuck(
    make_app: MakeApp, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.model_server.WATCH_S", 0.5)
    monkeypatch.setattr("service.inference.model_server.PAUSE_S", 0.5)
    async with running(make_app(stuck_s=1)) as model_server:
        busy = await keep_busy(model_server, engine)
        time.sleep(2)  # blocks the event loop, as a pause of the process does
        engine.go.set()
        await busy
        await asyncio.sleep(0.7)
        assert model_server.status == "ok"


@pytest.mark.parametrize(
    ("error", "logged"),
    [(OSError(24, "Too many open files"), "no metrics"), (ValueError("a bug"), "unhandled error")],
)
async def test_watch_goes_on_after_an_error_of_a_sample(
    make_app: MakeApp,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    logged: str,
) -> None:
    """A stuck thread is still found then."""
    monkeypatch.setattr("service.inference.model_server.WATCH_S", 0.01)
    samples = []

    def fail(*_: object) -> None:
        samples.append(1)
        raise error

    async with running(make_app(stuck_s=0.2)) as model_server:
        monkeypatch.setattr(model_server.metrics, "sample", fail)
        engine.go.clear()
        waiting = model_server.submit(model_server.find(), [colour("blue")])
        with pytest.raises(NotReadyError):
            await asyncio.wait_for(waiting[0], 30)
        assert model_server.fault is not None
        engine.go.set()
    assert len(samples) > 1
    assert logged in caplog.messages

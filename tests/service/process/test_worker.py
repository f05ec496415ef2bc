"""What a worker does with its tasks and messages; tests/e2e/test_faults.py has whole processes."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import uvicorn

from service.errors import LoadFailedError, NotReadyError
from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.inference.served_model import LOAD_ALL
from service.process.messages import Ask, Build, Commit, Done, Outcome, receive
from service.process.worker import Worker
from service.settings import Settings
from tests.benchmark.loopback import free_port
from tests.service.models import write_model

pytestmark = pytest.mark.anyio


@pytest.fixture
def supervisor() -> Iterator[tuple[Connection, Connection]]:
    """The supervisor's end of the pipe, and the worker's."""
    ours, its = Pipe()
    yield ours, its
    ours.close()
    its.close()


@pytest.fixture
def worker(supervisor: tuple[Connection, Connection], tmp_path: Path) -> Worker:
    """A worker that is not started."""
    model_server = ModelServer(Settings())
    app = create_app(Settings(), model_server, load=False)
    return Worker(uvicorn.Config(app), model_server, [], supervisor[1], tmp_path)


async def test_task_that_fails_is_logged_and_ends_the_worker(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    worker._spawn(fail())
    while not worker.should_exit:
        await asyncio.sleep(0.01)
    (record,) = caplog.records
    assert record.getMessage() == "unhandled error"
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


async def test_administration_that_is_cancelled_takes_no_worker_along(
    worker: Worker, supervisor: tuple[Connection, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    worker._spawn(worker._handle_messages())
    asked = [asyncio.create_task(worker.administer(LOAD_ALL)) for _ in range(4)]
    await asyncio.sleep(0)
    assert [receive(supervisor[0])[0] for _ in asked] == [Ask(n, LOAD_ALL) for n in range(4)]
    asked[0].cancel()
    closed = Outcome("The service is shutting down.", transient=True)
    outcomes = [Outcome(), Outcome("It is damaged."), Outcome(note="It is larger."), closed]
    for number, outcome in enumerate(outcomes):
        worker._messages.put_nowait((Done(number, outcome), []))
    assert await asyncio.wait_for(asked[2], 10) == "It is larger."
    with pytest.raises(LoadFailedError, match="damaged"):
        await asked[1]
    with pytest.raises(NotReadyError, match="shutting down"):
        await asked[3]
    assert asked[0].cancelled()
    assert not worker.should_exit
    assert caplog.records == []
    for task in worker._tasks:
        task.cancel()


async def test_grpc_port_is_open_when_the_service_says_that_it_is_ready(
    supervisor: tuple[Connection, Connection], tmp_path: Path
) -> None:
    write_model(tmp_path)
    settings = Settings(models=tmp_path, model="tiny", provider="cpu", grpc_port=free_port())
    model_server = ModelServer(settings)
    config = uvicorn.Config(create_app(settings, model_server, load=False))
    config.load()
    worker = Worker(config, model_server, [], supervisor[1], tmp_path)
    worker.lifespan = config.lifespan_class(config)
    await worker.startup()
    worker._messages.put_nowait((Build(1, LOAD_ALL), []))
    await asyncio.to_thread(receive, supervisor[0])
    worker._messages.put_nowait((Commit(1), []))
    while model_server.snapshot is None:
        await asyncio.sleep(0)
    with socket.create_connection(("127.0.0.1", settings.grpc_port or 0)):
        pass
    await worker.shutdown()


async def test_worker_whose_repository_hangs_ends_without_waiting_for_it(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    exits: list[int] = []
    monkeypatch.setattr("service.process.worker.os._exit", exits.append)
    worker.config.load()
    worker.lifespan = worker.config.lifespan_class(worker.config)
    await worker.startup()
    drive = threading.Event()
    reading = asyncio.create_task(worker._model_server.repository.run(drive.wait))
    await asyncio.sleep(0)
    await worker.shutdown()
    drive.set()
    await reading
    assert exits == [0]

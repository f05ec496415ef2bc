"""Several models in one service with two workers: answers, changes without a setting, memory."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.load import wait_until
from tests.e2e.test_faults import log_of
from tests.service.conftest import colour
from tests.service.models import write_model
from tests.shipped import MODELS, NEWEST

PICTURES = sorted(Path("tests/data/cifar10/test").glob("*/*.jpg"))[:8]
CAT = Path("tests/data/cat.jpg")
KEY = {"X-API-Key": "secret"}
# The largest share by which the memory may grow, and the changes that come before it is measured.
GROWTH = 0.05
WARM_UP = 20
TRIES = 3

StartServer = Callable[..., Server]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Both versions of the shipped model under names of their own, and a tiny one."""
    shutil.copytree(NEWEST, tmp_path / "cifar10" / NEWEST.name)
    shutil.copytree(MODELS / "cifar10" / "1", tmp_path / "baseline" / "7")
    write_model(tmp_path, "tiny", 3)
    return tmp_path


def test_models_in_one_service_answer_as_they_do_in_services_of_their_own(
    server: StartServer, models: Path
) -> None:
    names = sorted(folder.name for folder in models.iterdir())
    files = [("files", path.read_bytes()) for path in (CAT, *PICTURES)]
    alone = []
    for name in names:
        with server(models=models, model=name, served=name, workers=1) as running:
            response = web.post(f"{running.url}/predict/batch?top_k=3", files=files)
            alone.append(response.json())
    with server(models=models, workers=2) as running:
        together = [
            web.post(f"{running.url}/models/{name}/predict/batch?top_k=3", files=files).json()
            for name in names
        ]
    assert [answer["model"] for answer in alone] == names
    assert together == alone


def test_published_model_is_there_under_its_name_with_no_setting_changed(
    server: StartServer, models: Path
) -> None:
    with server(models=models, workers=2, admin_keys="secret") as running:
        for times, how in enumerate(("SIGHUP", "load"), start=1):
            assert statuses(running) == {404}
            write_model(models, "shapes", labels=["circle", "square", "star"])
            if how == "load":
                url = f"{running.url}/v2/repository/models/shapes/load"
                assert web.post(url, headers=KEY).status_code == 200
            else:
                running.process.send_signal(signal.SIGHUP)
            # The log says so once both workers serve it.
            wait_until(lambda: len(log_of(running, "loaded")) == times)  # noqa: B023
            assert statuses(running) == {200}
            for _ in range(8):  # each on a connection of its own, so of both workers
                response = web.post(f"{running.url}/models/shapes/predict", content=colour("blue"))
                assert response.json()["predictions"][0]["label"] == "star"
            assert web.get(f"{running.url}/health").json()["model"] == "cifar10"
            # And one that is gone is so with the next signal.
            shutil.rmtree(models / "shapes")
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: len(log_of(running, "removed")) == times)  # noqa: B023
            assert statuses(running) == {404}


def statuses(server: Server) -> set[int]:
    """How a model is answered that comes and goes, by both workers."""
    return {web.get(f"{server.url}/models/shapes").status_code for _ in range(8)}


@pytest.mark.alone
def test_hundred_loads_and_unloads_take_no_memory(server: StartServer, models: Path) -> None:
    with (
        server(models=models, workers=2, admin_keys="secret") as running,
        httpx2.Client(headers=KEY, timeout=60) as client,
    ):

        def change(times: int) -> None:
            for _ in range(times):
                for action in ("unload", "load"):
                    url = f"{running.url}/v2/repository/models/baseline/{action}"
                    assert client.post(url).status_code == 200
                answer = client.post(
                    f"{running.url}/models/baseline/predict", content=CAT.read_bytes()
                )
                assert answer.status_code == 200

        change(WARM_UP)
        files = open_files(running)
        # What is lost for good is lost in each try; some memory is only used late.
        for _ in range(TRIES):
            before = memory(running)
            change(100)
            after = memory(running)
            print(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after")
            if after <= before * (1 + GROWTH):
                break
        assert after <= before * (1 + GROWTH)
        # A few of a change before are closed when garbage is collected; one in each would be 100.
        assert open_files(running) < files + 20


def processes(server: Server) -> list[psutil.Process]:
    supervisor = psutil.Process(server.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def memory(server: Server) -> int:
    """The memory of all processes of a service, in bytes; what they share counts once."""
    return sum(process.memory_full_info().pss for process in processes(server))


def open_files(server: Server) -> int:
    """The descriptors of all processes, but for those of connections."""
    return sum(it.num_fds() - len(it.net_connections()) for it in processes(server))

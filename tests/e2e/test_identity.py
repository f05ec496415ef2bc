"""The folder is the identity of a model, in all workers, through changes and replacements."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e import web
from tests.e2e.conftest import Server, StartServer, launch
from tests.e2e.load import wait_until
from tests.service.conftest import colour
from tests.service.models import write_model

KEY = {"X-API-Key": "secret"}
BLUE = colour("blue")

StartReady = Callable[..., Server]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Model `pets` in versions 2 and 10, whose third class has another name in each."""
    folder = tmp_path / "models"
    write_model(folder, "pets", 2, labels=["red", "green", "old"])
    write_model(folder, "pets", 10, labels=["red", "green", "new"])
    return folder


def answers(server: Server, path: str = "predict") -> set[tuple[str, str, str]]:
    """Model, version and label, over as many connections as it takes to meet every worker."""
    found = set()
    for _ in range(12):
        answer = web.post(f"{server.url}/{path}", content=BLUE, timeout=30)
        document = answer.raise_for_status().json()
        found.add((document["model"], document["version"], document["predictions"][0]["label"]))
    return found


def load(server: Server, name: str = "pets") -> None:
    url = f"{server.url}/v2/repository/models/{name}/load"
    assert web.post(url, headers=KEY, timeout=60).status_code == 200


def replace_workers(server: Server) -> None:
    """Kills both, and waits until two others serve."""
    before = psutil.Process(server.process.pid).children()
    for worker in before:
        worker.kill()

    def is_replaced() -> bool:
        now = psutil.Process(server.process.pid).children()
        text = web.get(f"{server.url}/metrics", timeout=30).text
        return not set(now) & set(before) and 'service_workers{status="ok"} 2.0' in text

    wait_until(is_replaced)


def test_renamed_and_copied_folders_keep_their_names_in_workers_that_start_later(
    server: StartReady, models: Path
) -> None:
    shutil.copytree(models / "pets/2", models / "cats/7")
    shutil.copytree(models / "pets/2", models / "dogs/1")
    (models / "dogs").rename(models / "wolves")
    with server(models=models, model="pets", served="*,pets@all", workers=2) as running:
        for _ in range(2):
            assert answers(running) == {("pets", "10", "new")}
            assert answers(running, "models/pets/versions/2/predict") == {("pets", "2", "old")}
            assert answers(running, "models/cats/predict") == {("cats", "7", "old")}
            assert answers(running, "models/wolves/predict") == {("wolves", "1", "old")}
            assert web.get(f"{running.url}/v2/models/cats/versions/7/ready").status_code == 200
            assert web.get(f"{running.url}/models/dogs").status_code == 404
            replace_workers(running)


def test_rollback_is_a_copy(server: StartReady, models: Path) -> None:
    with server(models=models, model="pets", workers=2, admin_keys="secret") as running:
        assert answers(running) == {("pets", "10", "new")}
        shutil.copytree(models / "pets/2", models / "pets/11")
        load(running)
        assert answers(running) == {("pets", "11", "old")}
        replace_workers(running)
        assert answers(running) == {("pets", "11", "old")}
        # A second copy of the same version is another version, whose number may leave a gap.
        shutil.copytree(models / "pets/2", models / "pets/20")
        load(running)
        assert answers(running) == {("pets", "20", "old")}


def test_version_that_is_removed_while_it_serves_does_so_until_the_next_change(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="pets", workers=2) as running:
        shutil.rmtree(models / "pets/10")
        replace_workers(running)
        assert answers(running) == {("pets", "10", "new")}
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: answers(running) == {("pets", "2", "old")})


def test_repository_that_becomes_empty_or_is_not_mounted_empties_no_service(
    server: StartReady, models: Path
) -> None:
    write_model(models, "cats")
    with server(models=models, model="pets", workers=2) as running:
        models.rename(models.with_name("elsewhere"))
        running.process.send_signal(signal.SIGHUP)
        warning = f"There are no models in {models}, which is no folder; publish one"
        # Read once: the other worker may not have heard of it yet.
        wait_until(lambda: warning in web.get(f"{running.url}/health").json().get("warning", ""))
        assert answers(running) == {("pets", "10", "new")}
        assert answers(running, "models/cats/predict") == {("cats", "1", "blue")}
        models.with_name("elsewhere").rename(models)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "warning" not in web.get(f"{running.url}/health").json())


@pytest.mark.parametrize(("is_there", "state"), [(True, ""), (False, ", which is no folder")])
def test_empty_repository_ends_the_start_with_what_to_do(
    start_server: StartServer, tmp_path: Path, is_there: bool, state: str
) -> None:
    models = tmp_path / "none"
    if is_there:
        models.mkdir()
        (models / "README.md").write_text("A file is no model.")
    running = start_server(models=models, workers=2)
    assert running.wait() == 1
    (line,) = [line for line in running.log.read_text().splitlines() if line[0] != "{"]
    assert line == (
        f"error: There is no model 'cifar10': there are none in {models}{state}; publish one "
        "there, as <name>/<version>/ with its card.json, or point CIFAR10_MODELS at a folder of "
        "models."
    )


def test_read_only_volume_reached_by_links_is_served_and_changed(
    models: Path, tmp_path: Path
) -> None:
    """As Kubernetes mounts one: it makes a new folder beside the old, and replaces one link."""
    mount = tmp_path / "mount"
    mount.mkdir()
    models.rename(mount / "..2026_1")
    shutil.copytree(mount / "..2026_1", mount / "..2026_2")
    (mount / "..2026_2/pets/10").rename(mount / "..2026_2/pets/11")
    (mount / "..data").symlink_to("..2026_1")
    (mount / "pets").symlink_to("..data/pets")
    forbid_writing(mount)
    without = as_user_who_may_not_write()
    assert subprocess.run([*without, "mkdir", str(mount / "pets/12")], check=False).returncode == 1
    try:
        settings = {"models": mount, "workers": 2}
        with launch(tmp_path / "log", settings, without).wait_until_ready() as running:
            assert answers(running) == {("pets", "10", "new")}
            mount.chmod(0o755)
            (mount / "..new").symlink_to("..2026_2")
            (mount / "..new").replace(mount / "..data")
            mount.chmod(0o555)
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: answers(running) == {("pets", "11", "new")})
            replace_workers(running)
            assert answers(running) == {("pets", "11", "new")}
    finally:
        for path in (mount, *mount.rglob("*")):
            path.chmod(0o755)


def forbid_writing(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def as_user_who_may_not_write() -> tuple[str, ...]:
    """The words before a command: root may write everywhere, unless it gives that up."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv")
    return ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")

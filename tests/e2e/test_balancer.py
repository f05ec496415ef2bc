"""Several real instances behind HAProxy, with the configuration that ships."""

import io
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from service.http.problems import MEDIA_TYPE
from service.settings import Settings
from tests.e2e import proxies, web
from tests.e2e.balancer import CONF, Names, balancer
from tests.e2e.instances import Instances, balanced
from tests.e2e.load import Load, wait_until
from tests.service.conftest import colour

pytestmark = proxies.needs_haproxy

RED = colour("red")
# More than the buffer of HAProxy, so that a request is not repeated once it has been sent.
LARGE_BYTES = 40_000
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CLIENTS = 64
ANSWER_TIMEOUT_S = 15  # of the configuration


@pytest.fixture(scope="module")
def started(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    folder = tmp_path_factory.mktemp("balancer")
    with balanced(folder, HOSTS, models=tiny_models, model="tiny") as instances:
        yield instances


@pytest.fixture
def instances(started: Instances) -> Instances:
    """Three of them, each of which the balancer uses, whatever a test before has done to them."""
    started.add(*(host for host in HOSTS if host not in started.servers))
    started.wait_for_all(RED)
    return started


def large_picture() -> bytes:
    """A PNG that is larger than a buffer of HAProxy."""
    noise = random.Random(0).randbytes(LARGE_BYTES)
    out = io.BytesIO()
    Image.frombytes("L", (200, LARGE_BYTES // 200), noise).save(out, "PNG")
    return out.getvalue()


@pytest.mark.alone
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_killed_instance_loses_at_most_what_it_had_in_work(
    instances: Instances, large: bool
) -> None:
    picture = large_picture() if large else RED
    with Load(instances.url, picture, clients=CLIENTS, keep_alive=True) as load:
        load.wait_for(10 * CLIENTS)
        instances.kill(HOSTS[0])
        killed_at = time.monotonic()
        load.wait_for(30 * CLIENTS)
    assert load.refused == 0
    assert len(load.failures) <= CLIENTS
    assert all(sent.at < killed_at for sent in load.failures)
    # A small picture is sent to another instance; of a large one the balancer has no copy.
    assert large or load.failures == []


def test_paused_instance_loses_nothing_and_serves_again_when_it_goes_on(
    instances: Instances,
) -> None:
    with Load(instances.url, RED, clients=CLIENTS, keep_alive=True) as load:
        load.wait_for(10 * CLIENTS)
        instances.send(HOSTS[0], signal.SIGSTOP)
        paused_at = time.monotonic()
        load.pause_s = 2  # what was in work when it was paused is all that is of interest
        # What it had in work is repeated after the longest time that an answer may take.
        wait_until(lambda: time.monotonic() > paused_at + ANSWER_TIMEOUT_S + 5)
        instances.send(HOSTS[0], signal.SIGCONT)
    assert max(sent.seconds for sent in load.sent) > ANSWER_TIMEOUT_S  # some was repeated
    assert load.failures == []
    assert load.refused == 0
    instances.wait_for_all(RED)


@pytest.mark.alone
def test_rolling_restart_loses_nothing(instances: Instances) -> None:
    with Load(instances.url, RED, clients=CLIENTS, keep_alive=True) as load:
        for host in HOSTS:
            load.wait_for(5 * CLIENTS)
            assert instances.stop(host) == 0
            load.wait_for(5 * CLIENTS)
            instances.add(host)
        load.wait_for(5 * CLIENTS)
    assert load.failures == []
    assert load.refused == 0


def test_added_instance_is_found_by_the_name_and_a_removed_one_forgotten(
    instances: Instances,
) -> None:
    added = "127.0.0.5"
    instances.add(added)
    instances.wait_for_all(RED)
    instances.names.addresses.remove(added)
    with Load(instances.url, RED, pause_s=0.02) as load:
        wait_until(lambda: not used(instances, added))
    assert load.failures == []
    assert instances.servers.pop(added).stop() == 0


def used(instances: Instances, host: str) -> bool:
    """Whether one answers, in three seconds of load."""
    before = instances.answers(host)
    time.sleep(3)
    return instances.answers(host) > before


def test_largest_upload_passes(instances: Instances) -> None:
    body = RED + bytes(Settings().max_body_bytes - len(RED))
    assert web.post(f"{instances.url}/predict", content=body).status_code == 200


def test_models_are_not_changed_in_one_instance_alone(instances: Instances) -> None:
    for path in ("/v2/repository/models/tiny/load", "/v2/%72epository/models/tiny/unload"):
        refused = web.post(f"{instances.url}{path}")
        assert refused.status_code == 403
        assert "SIGHUP" in refused.json()["error"]
    assert web.get(f"{instances.url}/v2/models/tiny").status_code == 200


def test_without_a_ready_instance_clients_are_told_when_to_come_again(tmp_path: Path) -> None:
    with Names() as names, balancer(names, 1, tmp_path) as url:
        answer = web.post(f"{url}/predict", content=RED)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["status"] == 503


def test_configuration_has_no_warnings() -> None:
    assert proxies.HAPROXY is not None
    command = [proxies.HAPROXY, "-c", "-f", str(CONF)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert (done.stdout + done.stderr).strip() in ("Configuration file is valid", "")

"""Small pictures do not wait for large ones, in a real server of two workers."""

import fcntl
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.e2e.hostile import DEADLINE_MS, Answer, connect, head, post
from tests.e2e.load import wait_until
from tests.e2e.test_disconnects import metric
from tests.e2e.test_faults import STUCK_S
from tests.e2e.test_hostile_pictures import png
from tests.service.conftest import colour

SMALL = colour("red")
# As many as the clients of an overload, and some more than fit into the lanes of both workers.
CLIENTS, TOO_MANY = 3, 14
# Some more pixels than make a picture huge, and no more than are allowed.
SIDE, MAX_PIXELS = 4010, 17_000_000


@pytest.fixture(scope="module")
def huge() -> bytes:
    """A picture that has to wait for its lane."""
    return png(SIDE, SIDE, bytes(SIDE * (3 * SIDE + 1)))


@pytest.fixture
def running(
    server: Callable[..., Server],
    tiny_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    settings = {"workers": 2, "threads": 1, "stuck_s": STUCK_S, "max_pixels": MAX_PIXELS}
    settings |= {"deadline_ms": DEADLINE_MS}
    with server(models=tiny_models, model="tiny", **settings) as running:
        yield running


@contextmanager
def held_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of huge pictures, as another worker does that decodes one."""
    (path,) = folder.glob("cifar10-serve-*/huge")
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def waiting(server: Server) -> float:
    return metric(server, 'classifier_queue_depth{model="tiny"}')


def test_small_pictures_are_answered_while_huge_ones_wait(
    running: Server, tmp_path: Path, huge: bytes
) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        with held_lock(tmp_path):
            late = [pool.submit(post, running, huge) for _ in range(CLIENTS)]
            wait_until(lambda: waiting(running) == CLIENTS)
            ends_at, small = time.monotonic() + 2 * STUCK_S, 0
            while time.monotonic() < ends_at or small < 100:
                assert post(running, SMALL).status == 200
                small += 1
                time.sleep(0.05)  # that they are answered is what counts, not how many
            assert not any(it.done() for it in late)
        assert [it.result().status for it in late] == [200] * CLIENTS
    assert metric(running, "service_worker_restarts_total") == 0


def test_full_lane_refuses_huge_pictures_alone(
    running: Server, tmp_path: Path, huge: bytes
) -> None:
    with ThreadPoolExecutor(TOO_MANY) as pool, held_lock(tmp_path):
        sent: list[Future[Answer]] = [pool.submit(post, running, huge) for _ in range(TOO_MANY)]
        wait_until(lambda: any(it.done() for it in sent))
        refused = next(it.result() for it in sent if it.done())
        assert (refused.status, refused.slug) == (503, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        for _ in range(20):
            assert post(running, SMALL).status == 200


def test_huge_picture_whose_client_has_left_or_is_late_is_not_decoded(
    running: Server, tmp_path: Path, huge: bytes
) -> None:
    with held_lock(tmp_path):
        with connect(running) as leaving:
            leaving.sendall(head(content_length=len(huge)) + huge)
            wait_until(lambda: waiting(running) == 1)
        wait_until(lambda: waiting(running) == 0)
        late = post(running, huge, x_request_timeout_ms=200)
        assert (late.status, late.slug) == (504, "deadline-exceeded")
        # The lock is still held: they were dropped, and not taken.
        wait_until(lambda: waiting(running) == 0)
    assert post(running, huge).status == 200

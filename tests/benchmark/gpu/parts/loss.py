"""The loss of the GPU while it serves: who is answered what, and how soon all is well again.

A kernel that stops itself makes CUDA useless for the process that ran it, and for no other.
"""

import http.client
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.benchmark.gpu.clients import Clients, count_statuses, post
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, wrong_unless
from tests.benchmark.gpu.service import Service
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.wire import Body, form

# What is answered while no worker can compute; 0 is a connection that was closed.
_EXPECTED = {200, 503, 0}
_CONNECTIONS = 8
_RECOVERY_S = 25
_POLL_S = 0.01


def measure(plan: Plan) -> Iterator[Finding]:
    """Lets the only worker lose its device under load, and waits for the next one."""
    settings = {"provider": plan.provider, "require_cuda": plan.is_cuda, "workers": 1}
    bodies = [form([upload]) for upload in make_pictures(())[SMALL]]
    requests = [post("/predict", body) for body in bodies]
    losing = "tests.benchmark.gpu.losing"
    with Service(plan.settings, settings, module=losing) as service, Clients() as clients:
        service.wait_until_ready()
        seconds = plan.warm_up_s + 2 * plan.load_s
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(clients.send, service.port, requests, _CONNECTIONS, seconds)
            time.sleep(plan.warm_up_s + plan.load_s)
            recovered_s = _lose(service, bodies[0])
            answers = sending.result()
        health = service.health
        restarts = service.metric("service_worker_restarts_total")
        reasons = [line for line in service.log if "failed" in line]
    figures: dict[str, Figure] = {
        "s until another worker answered": recovered_s,
        "answers": count_statuses(answers),
        "workers replaced": restarts,
        "status afterwards": health["status"],
        "on": health["provider"],
        "it says": reasons[0] if reasons else None,
    }
    good = health["status"] == "ok" and health["provider"] == plan.execution_provider
    good &= {answer.status for answer in answers} <= _EXPECTED
    good &= restarts == 1 and recovered_s is not None
    yield Finding("loss of the device under load", figures, wrong_unless(good))


def _lose(service: Service, body: Body) -> float | None:
    """Returns the seconds until another worker answered; None if none did in time."""
    (worker,) = service.workers
    lost_at = time.monotonic()
    os.kill(worker, signal.SIGUSR2)
    while (passed := time.monotonic() - lost_at) < _RECOVERY_S:
        # While no worker serves, connections wait or are closed.
        with suppress(OSError, http.client.HTTPException):
            if worker not in service.workers and service.ask("/predict", body)[0] == 200:
                return passed
        time.sleep(_POLL_S)
    return None

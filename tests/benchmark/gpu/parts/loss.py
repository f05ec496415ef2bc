"""The loss of the GPU while it serves: who is answered what, and how soon all is well again.

A kernel that stops itself makes CUDA useless for the process that ran it, and for no other.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from tests.benchmark.gpu.clients import Answer, Clients, count_statuses, post
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, wrong_unless
from tests.benchmark.gpu.service import Service
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.wire import form

# What is answered while no worker can compute; 0 is a connection that was closed.
_EXPECTED = {200, 503, 0}


def measure(plan: Plan) -> Iterator[Finding]:
    """Lets the only worker lose its device under load, and waits for the next one."""
    settings = {"provider": plan.provider, "require_cuda": plan.is_cuda, "workers": 1}
    losing = "tests.benchmark.gpu.losing"
    with Service(plan.settings, settings, module=losing) as service, Clients() as clients:
        service.wait_until_ready()
        requests = [post("/predict", form([upload])) for upload in make_pictures(())[SMALL]]
        (worker,) = service.workers
        seconds = plan.warm_up_s + plan.load_s + plan.recovery_s
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(clients.send, service.port, requests, 8, seconds)
            time.sleep(plan.warm_up_s + plan.load_s)
            lost_at = time.monotonic()
            os.kill(worker, signal.SIGUSR2)
            answers = sending.result()
        health = service.wait_until_ready().health
        reasons = [line for line in service.log if "failed" in line]
        restarts = service.metric("service_worker_restarts_total")
    statuses = {answer.status for answer in answers}
    recovered = _recovered_s(answers, lost_at)
    figures: dict[str, Figure] = {
        "answers": count_statuses(answers),
        "s without a good one": recovered,
        "workers replaced": restarts,
        "it says": reasons[-1] if reasons else None,
        "status afterwards": health["status"],
        "on": health["provider"],
    }
    good = health["status"] == "ok" and health["provider"] == plan.execution_provider
    good &= statuses <= _EXPECTED and restarts == 1 and recovered is not None
    yield Finding("loss of the device under load", figures, wrong_unless(good))


def _recovered_s(answers: Sequence[Answer], lost_at: float) -> float | None:
    """The longest time between two good answers after the loss; None if none was bad."""
    if all(answer.status == 200 for answer in answers):
        return None
    good = sorted(answer.at for answer in answers if answer.status == 200)
    times = [lost_at, *(at for at in good if at >= lost_at)]
    return max((later - at for at, later in pairwise(times)), default=None)

"""Changes of model under load: what is lost, how slow it gets, and how much memory they take."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from tests.benchmark.gpu.clients import Answer, Clients, count_statuses, post
from tests.benchmark.gpu.nvml import Watch, find_gpu
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, wrong_unless
from tests.benchmark.gpu.service import Service
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.wire import Body, form

KEY = "gpu"
_BIN_S = 0.25


def measure(plan: Plan) -> Iterator[Finding]:
    """Publishes the model as a new version several times, and loads each."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / plan.stored.name
        shutil.copytree(plan.stored.folder, model / "1")
        settings = {
            "models": folder,
            "model_version": "latest",
            "provider": plan.provider,
            "require_cuda": plan.is_cuda,
            "admin_keys": KEY,
        }
        with Service(plan.settings, settings) as service, Clients() as clients:
            service.wait_until_ready()
            yield from _change(plan, service, clients, model)


def _change(plan: Plan, service: Service, clients: Clients, model: Path) -> Iterator[Finding]:
    gpu = find_gpu()
    requests = [post("/predict", form([upload])) for upload in make_pictures(())[SMALL]]
    connections = plan.connections[1]
    took, memory = [], [service.memory_mb]
    # For so long that the changes come to their end before.
    seconds = plan.load_s * (plan.changes + 1) + plan.warm_up_s
    with ThreadPoolExecutor(1) as pool, Watch() as watch:
        before = gpu.memory_mb if gpu else None
        sending = pool.submit(clients.send, service.port, requests, connections, seconds)
        time.sleep(plan.warm_up_s + plan.load_s)
        began_at = time.monotonic()
        for version in range(2, 2 + plan.changes):
            shutil.copytree(plan.stored.folder, model / str(version))
            took.append(_load(service, model.name))
            memory.append(service.memory_mb)
        ended_at = time.monotonic()
        answers = sending.result()
    ended_at = min(ended_at, max(answer.at for answer in answers))
    served = int(service.health["version"])
    lost = sum(answer.status != 200 for answer in answers)
    figures: dict[str, Figure] = {
        "": plan.changes,
        "s each": median(took),
        "s at most": max(took),
        "answers": count_statuses(answers),
        "served at the end": f"version {served}",
    }
    good = not lost and served == 1 + plan.changes
    yield Finding("changes of model", figures, wrong_unless(good))
    yield Finding("slowest quarter of a second", _slowest(plan, answers, began_at, ended_at))
    yield Finding(
        "memory of the worker", {"MB before": memory[0], "at most after one": max(memory[1:])}
    )
    after = gpu.memory_mb if gpu else None
    figures = {"MB before": before, "at most": watch.memory_mb, "afterwards": after}
    yield Finding("memory of the GPU", figures)


def _load(service: Service, name: str) -> float:
    """Loads a model by the administrator's route; returns the seconds that it took."""
    asked_at = time.monotonic()
    path = f"/v2/repository/models/{name}/load"
    status, text = service.ask(path, Body({"Authorization": f"Bearer {KEY}"}, b""))
    if status != 200:
        raise RuntimeError(f"{path} was answered by {status}: {text}")
    return time.monotonic() - asked_at


def _slowest(
    plan: Plan, answers: Sequence[Answer], began_at: float, ended_at: float
) -> dict[str, Figure]:
    """The least answers in any quarter of a second, of the median before the changes."""
    usual = median(_rates(answers, began_at - plan.load_s, began_at))
    during = _rates(answers, began_at, max(ended_at, began_at + _BIN_S))
    return {"of the median before": min(during) / usual if usual else None}


def _rates(answers: Sequence[Answer], start: float, end: float) -> list[int]:
    """The number of answers in each whole quarter of a second."""
    bins = Counter(int((answer.at - start) // _BIN_S) for answer in answers)
    return [bins[number] for number in range(max(1, int((end - start) / _BIN_S)))]

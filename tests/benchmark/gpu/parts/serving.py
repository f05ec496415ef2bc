"""The service under load, against the bare session and against the decoding alone."""

import itertools
import time
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from service.inference.classifier import open_classifier
from tests.benchmark.gpu.clients import Clients, post, summarise
from tests.benchmark.gpu.nvml import Watch
from tests.benchmark.gpu.parts.session import per_s
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, missed_unless, wrong_unless
from tests.benchmark.gpu.service import Service
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.wire import form, v2_pixels

# Of the bare session's pictures a second, for batches of pixels.
TARGET = 0.8
# Settings that might suit a GPU better than the defaults.
VARIANTS: tuple[dict[str, object], ...] = ({"cuda_graphs": True}, {"workers": 1})


class Kind(NamedTuple):
    """What is sent: requests of so many pictures each."""

    name: str
    pictures: int
    requests: list[bytes]


def measure(plan: Plan) -> Iterator[Finding]:
    """Measures the ceilings, then the service, and on CUDA what else it could be told."""
    size, threads = plan.settings.max_batch, plan.settings.thread_count
    bare, decoding = _ceilings(plan)
    yield Finding(f"ceiling: bare session, batches of {size}", {"pictures/s": bare})
    yield Finding(f"ceiling: decoding, {threads} threads", {"pictures/s": decoding})
    kinds = _kinds(plan)
    with Clients() as clients:
        best = yield from _load(plan, clients, kinds, plan.connections)
        jpeg, pixels = (best[kind.name] for kind in kinds)
        name = f"{kinds[1].name}, best against the bare session"
        verdict = missed_unless(pixels / bare >= TARGET)
        yield Finding(name, {"": pixels / bare, "target": TARGET}, verdict)
        name = f"{kinds[0].name}, best against the lower of the two ceilings"
        yield Finding(name, {"": jpeg / min(bare, decoding)})
        for settings in VARIANTS if plan.is_cuda else ():
            try:
                yield from _load(plan, clients, kinds, plan.connections[-1:], settings)
            except RuntimeError as error:  # it was not ready
                yield Finding(f"{settings}", {"failed": str(error)}, wrong_unless(False))


def _load(
    plan: Plan,
    clients: Clients,
    kinds: list[Kind],
    connections: tuple[int, ...],
    variant: Mapping[str, object] | None = None,
) -> Generator[Finding, None, dict[str, float]]:
    """Loads the service with each kind; returns the most pictures a second of each."""
    best = dict.fromkeys((kind.name for kind in kinds), 0.0)
    settings = {
        "provider": plan.provider,
        "require_cuda": plan.is_cuda,
        # What is sent is noise, of which a model is unsure: half of the work would not be counted.
        "second_view": False,
        # Room for a request of each connection.
        "max_queue": max(connections) * plan.settings.max_batch,
        **(variant or {}),
    }
    suffix = "".join(f", {name} {value}" for name, value in (variant or {}).items())
    with Service(plan.settings, settings) as service:
        ready_s = service.wait_until_ready().ready_s
        yield Finding(f"start to ready{suffix}", {"s": ready_s})
        for kind, count in itertools.product(kinds, connections):
            figures, per_second = _measure(plan, service, clients, kind, count)
            yield Finding(f"{kind.name}, {count} connections{suffix}", figures)
            best[kind.name] = max(best[kind.name], per_second)
    return best


def _measure(
    plan: Plan, service: Service, clients: Clients, kind: Kind, connections: int
) -> tuple[dict[str, Figure], float]:
    """The figures of one load, and its pictures a second."""
    before = _batches(service)
    began_at = time.monotonic()
    with Watch() as watch:
        seconds = plan.warm_up_s + plan.load_s
        answers = clients.send(service.port, kind.requests, connections, seconds)
    ended_at = max((answer.at for answer in answers), default=began_at + seconds)
    start = ended_at - plan.load_s
    seen = summarise(answers, start, ended_at)
    inferences, pictures = (b - a for a, b in zip(before, _batches(service), strict=True))
    # The counts of other workers than the one that is asked are up to a second old.
    is_exact = inferences and len(service.workers) == 1
    per_second = seen.per_s * kind.pictures
    return {
        "requests/s": seen.per_s,
        "pictures/s": per_second,
        "p50 ms": seen.p50_ms,
        "p99 ms": seen.p99_ms,
        "failed": seen.failed,
        "mean batch": pictures / inferences if is_exact else None,
        "GPU %": watch.utilisation(start, ended_at),
        "GPU MB": watch.memory_mb,
    }, per_second


def _batches(service: Service) -> tuple[float, float]:
    """Its inferences so far, and their pictures."""
    return (
        service.metric("classifier_batch_size_count"),
        service.metric("classifier_batch_size_sum"),
    )


def _ceilings(plan: Plan) -> tuple[float, float]:
    """Pictures a second of the bare session, and of the decoding threads alone."""
    classifier = open_classifier(plan.stored, plan.read, plan.settings)
    size, threads = plan.settings.max_batch, plan.settings.thread_count
    bare = per_s(partial(classifier.engine.run, plan.noise(size)), plan.cell_s) * size
    uploads = itertools.cycle(make_pictures(())[SMALL])
    decode = per_s(lambda: classifier.decode(next(uploads)), plan.cell_s, threads)
    return bare, decode


def _kinds(plan: Plan) -> list[Kind]:
    size = plan.settings.max_batch
    images = plan.noise(size)
    batch = v2_pixels(images.shape, images.tobytes())
    jpegs = [post("/predict", form([upload])) for upload in make_pictures(())[SMALL]]
    pixels = [post(f"/v2/models/{plan.stored.name}/infer", batch)]
    return [
        Kind("JPEG, multipart", 1, jpegs),
        Kind(f"V2, {size} pictures as pixels", size, pixels),
    ]

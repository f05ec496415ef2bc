"""The bare session: each size of batch, with and without bound buffers and CUDA graphs."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import onnxruntime as ort

from service.errors import ServiceError
from service.inference.card import MODEL_FILE
from service.inference.engine_cuda import Buckets, Images
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, wrong_unless
from tests.benchmark.gpu.sessions import Sessions

UNBOUND = "without bound buffers"
BOUND = "bound buffers"
GRAPHS = "bound buffers, CUDA graphs"
_WARM_UP = 3
# Two, as the service has in front of a device.
_THREADS = 2

Run = Callable[[Images], object]


def measure(plan: Plan) -> Iterator[Finding]:
    """Measures the file that the service takes, and the float32 one."""
    for file in dict.fromkeys((plan.served_file, MODEL_FILE)):
        for way in (UNBOUND, BOUND, *([GRAPHS] if plan.is_cuda else [])):
            try:
                yield from _measure_all(plan, file, way)
            except ServiceError as error:
                yield Finding(f"{file}, {way}", {"failed": str(error)}, wrong_unless(False))
    size = min(plan.settings.max_batch, plan.largest)
    run = partial(_open(plan, plan.served_file, BOUND), plan.noise(size))
    yield _measure_python(run, plan.cell_s)
    yield from _measure_copies(plan, size)


def per_s(run: Callable[[], object], seconds: float, threads: int = _THREADS) -> float:
    """How often a second several threads together can do something; each does it at least once."""
    end = time.perf_counter() + seconds

    def repeat(_thread: int) -> int:
        done = 0
        while not done or time.perf_counter() < end:
            run()
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(repeat, range(threads)))
    return done / (time.perf_counter() - start)


def _open(plan: Plan, file: str, way: str) -> Run:
    """Opens a file to be computed in one of the ways.

    Raises:
        ServiceError: it cannot be computed so.
    """
    sessions = Sessions()
    engine = sessions.open(plan, file, plan.largest, graphs=way == GRAPHS)
    session, outputs = sessions.session, ["probabilities", "energy"]
    if way == UNBOUND:
        return lambda images: session.run(outputs, {"image": images})
    if plan.is_cuda:
        return engine.run
    # There the service binds none.
    return Buckets(session, engine.height, engine.width, "cpu", plan.largest).run


def _measure_all(plan: Plan, file: str, way: str) -> Iterator[Finding]:
    """Measures each size of batch, and the service's from several threads."""
    run = _open(plan, file, way)
    for batch in plan.sizes:
        figures = _measure(partial(run, plan.noise(batch)), plan.cell_s, batch)
        yield Finding(f"{file}, {way}, batch {batch}", figures)
    size = min(plan.settings.max_batch, plan.largest)
    rate = per_s(partial(run, plan.noise(size)), plan.cell_s) * size
    name = f"{file}, {way}, batch {size} from {_THREADS} threads"
    yield Finding(name, {"pictures/s": rate})


def _measure(run: Callable[[], object], seconds: float, size: int) -> dict[str, Figure]:
    for _ in range(_WARM_UP):
        run()
    times = [time.perf_counter()]
    while times[-1] < times[0] + seconds or len(times) < 3:
        run()
        times.append(time.perf_counter())
    took = np.diff(times)
    p50, p99 = (float(value) * 1000 for value in np.percentile(took, (50, 99)))
    return {"p50 ms": p50, "p99 ms": p99, "pictures/s": size * len(took) / float(took.sum())}


def _measure_python(run: Callable[[], object], seconds: float) -> Finding:
    """How fast another thread's Python goes on during inferences, against alone."""
    alone = _count_for(seconds)
    ended = threading.Event()
    thread = threading.Thread(target=_repeat, args=(run, ended))
    thread.start()
    beside = _count_for(seconds)
    ended.set()
    thread.join()
    return Finding("another thread's Python during inferences", {"against alone": beside / alone})


def _count_for(seconds: float) -> int:
    end, counted = time.perf_counter() + seconds, 1
    while time.perf_counter() < end:
        counted += 1
    return counted


def _repeat(run: Callable[[], object], ended: threading.Event) -> None:
    while not ended.is_set():
        run()


def _measure_copies(plan: Plan, size: int) -> Iterator[Finding]:
    """How long the copies of a batch take, to the device and of the answers from there."""
    images, classes = plan.noise(size), len(plan.stored.card.labels)
    given = ort.OrtValue.ortvalue_from_numpy(images, plan.provider, 0)
    answer = ort.OrtValue.ortvalue_from_numpy(
        np.zeros((size, classes), np.float32), plan.provider, 0
    )
    ways = {"to": partial(given.update_inplace, images), "from": answer.numpy}
    for way, copy in ways.items():
        figures = _measure(copy, plan.cell_s, size)
        del figures["pictures/s"]
        yield Finding(f"copy {way} the device, batch {size}", figures)

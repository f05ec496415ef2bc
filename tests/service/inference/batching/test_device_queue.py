"""Batches for a device, such as a GPU: their order, and how busy a simulated one is kept."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from service.errors import DeadlineExceededError, QueueFullError
from service.inference.batching.batcher import MicroBatcher
from service.inference.classifier import Observer
from service.inference.engine import CUDA
from service.inference.engine_cuda import Buckets, Floats, Images
from service.inference.model_server import ModelServer
from service.inference.served_model import LOAD_ALL
from service.inference.snapshot import LoadedModel, Snapshot
from service.settings import Settings
from tests.service.conftest import FakeEngine, fake_model, snapshot_of

pytestmark = pytest.mark.anyio

MAX_BATCH = 32
PICTURE_MS = 0.1
SECONDS = 0.8
# Other programs on the machine can only lower what is measured.
TRIES = 3
PIXELS = np.zeros((8, 8, 3), np.uint8)


class Simulated:
    """A session whose runs take as long as those of a device, during which Python goes on."""

    def __init__(self, session: ort.InferenceSession, step_ms: float) -> None:
        self._session = session
        self._step_ms = step_ms
        self.sizes: list[int] = []
        self.get_outputs = session.get_outputs
        self.io_binding = session.io_binding

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions) -> None:
        size = int(options.get_run_config_entry("gpu_graph_id")) % (MAX_BATCH + 1)
        self.sizes.append(size)
        time.sleep((self._step_ms + PICTURE_MS * size) / 1000)
        self._session.run_with_iobinding(binding, options)


class DeviceQueue(FakeEngine):
    """An engine on a simulated device."""

    def __init__(self, models: Path, step_ms: float) -> None:
        super().__init__()
        self.provider = self.requested_provider = CUDA
        model = (models / "tiny/1/model.onnx").read_bytes()
        self.session = Simulated(ort.InferenceSession(model), step_ms)
        self._buckets = Buckets(self.session, 8, 8, "cpu", MAX_BATCH)

    def run(self, images: Images) -> tuple[Floats, Floats]:
        self.batches.append(len(images))
        return self._buckets.run(images)

    def pictures_per_s(self) -> float:
        """What it can do: full batches, one after another."""
        batch = np.stack([PIXELS] * MAX_BATCH)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS / 3:
            self._buckets.run(batch)
            count += MAX_BATCH
        return count / (time.perf_counter() - start)


async def serving(*engines: FakeEngine, threads: int = 16) -> ModelServer:
    """A server of a model for each engine: m0, m1, and so on."""

    def build(settings: Settings, _order: object, _before: object, observe: Observer) -> Snapshot:
        models = (
            fake_model(engine, settings, observe, name=f"m{number}")
            for number, engine in enumerate(engines)
        )
        return snapshot_of(*models)

    server = ModelServer(Settings(threads=threads, max_batch=MAX_BATCH), build)
    server.start()
    await server.change(LOAD_ALL)
    return server


async def ask(server: ModelServer, model: LoadedModel, until: float) -> int:
    """One client who sends a picture after another."""
    answers = 0
    while time.perf_counter() < until:
        await server.submit(model, [PIXELS])[0]
        answers += 1
    return answers


async def served_per_s(server: ModelServer, clients: int) -> float:
    start = time.perf_counter()
    model = server.find()
    answers = await asyncio.gather(*(ask(server, model, start + SECONDS) for _ in range(clients)))
    return sum(answers) / (time.perf_counter() - start)


@pytest.mark.alone
@pytest.mark.parametrize("clients", [64, 256])
@pytest.mark.parametrize("step_ms", [1, 4, 20])
async def test_device_is_kept_busy(tiny_models: Path, step_ms: float, clients: int) -> None:
    engine = DeviceQueue(tiny_models, step_ms)
    server = await serving(engine)
    kept = 0.0
    for _ in range(TRIES):
        possible = engine.pictures_per_s()
        kept = max(kept, await served_per_s(server, clients) / possible)
        if kept >= 0.9:
            break
    assert kept >= 0.9
    await server.stop()


@pytest.mark.alone
async def test_model_is_not_starved_by_another(tiny_models: Path) -> None:
    """It waits for two full batches of the other at most, and some time on a busy machine."""
    busy, rare = DeviceQueue(tiny_models, step_ms=20), DeviceQueue(tiny_models, step_ms=20)
    server = await serving(busy, rare)
    until = time.perf_counter() + SECONDS
    first, second = server.find("m0"), server.find("m1")
    load = asyncio.gather(*(ask(server, first, until) for _ in range(64)))
    await asyncio.sleep(0.2)
    batches: list[int] = []
    while time.perf_counter() < until - 0.2:
        before = len(busy.batches)
        await server.submit(second, [PIXELS])[0]
        batches.append(len(busy.batches) - before)
        await asyncio.sleep(0.01)
    await load
    # One that is taken before the picture is decoded, and one that is while it is computed.
    assert max(batches) <= 3
    assert rare.batches == [1] * len(batches)
    await server.stop()


class Gate:
    """Doubles numbers on a device that computes one batch after another, each once it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[str] = []
        self.go = threading.Semaphore(0)
        self._device = threading.Lock()

    def prepare(self, value: int) -> int:
        if value == 13:
            raise ValueError("unlucky")
        return value

    def process(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.threads.append(threading.current_thread().name)
        with self._device:
            assert self.go.acquire(timeout=10)
        if 666 in batch:
            raise RuntimeError("broken")
        return [2 * value for value in batch]


Batcher = MicroBatcher[str, int, int, int]


def batcher_of(gate: Gate, *, max_queue: int = 100) -> Batcher:
    """Keys that begin with `gpu` have a device."""
    batcher: Batcher = MicroBatcher(
        gate.prepare,
        gate.process,
        max_batch=2,
        max_queue=max_queue,
        threads=4,
        has_device=lambda key: key.startswith("gpu"),
    )
    batcher.start()
    return batcher


async def taken(gate: Gate, count: int) -> None:
    while len(gate.batches) < count:
        await asyncio.sleep(0.001)


async def prepared(batcher: Batcher, key: str) -> None:
    """Waits until an item of a key waits for its device, no more for a thread."""
    async with asyncio.timeout(10):
        while not batcher._device.depth(key):
            await asyncio.sleep(0.001)


async def settled() -> None:
    """Long enough for threads to take what they may."""
    await asyncio.sleep(0.05)


async def test_next_batch_is_taken_early_only_if_it_is_full() -> None:
    gate = Gate()
    batcher = batcher_of(gate)
    items = batcher.submit("gpu", [1], 10)
    await taken(gate, 1)
    items += batcher.submit("gpu", [2], 10)
    await settled()
    assert gate.batches == [[1]]
    items += batcher.submit("gpu", [3], 10)
    await taken(gate, 2)
    assert set(gate.batches[1]) == {2, 3}
    items += batcher.submit("gpu", [4, 5], 10)
    await settled()
    assert len(gate.batches) == 2  # no more than that
    gate.go.release(3)
    assert await asyncio.gather(*items) == [2, 4, 6, 8, 10]
    assert set(gate.threads) == {"device-0", "device-1"}
    await asyncio.to_thread(batcher.close)


async def test_keys_take_turns_on_a_device() -> None:
    gate = Gate()
    batcher = batcher_of(gate)
    items = batcher.submit("gpu-a", [1, 1, 1, 1, 1, 1, 1, 1], 10)
    await taken(gate, 2)
    items += batcher.submit("gpu-b", [2], 10)
    await prepared(batcher, "gpu-b")
    gate.go.release(100)
    await asyncio.gather(*items)
    assert gate.batches.index([2]) == 2
    await asyncio.to_thread(batcher.close)


async def test_key_without_a_device_is_processed_where_it_was_prepared() -> None:
    gate = Gate()
    batcher = batcher_of(gate)
    gate.go.release()
    assert await batcher.submit("cpu", [1], 10)[0] == 2
    assert [name.split("-")[0] for name in gate.threads] == ["compute"]
    await asyncio.to_thread(batcher.close)


async def test_failed_and_cancelled_items_of_a_device_harm_no_others() -> None:
    gate = Gate()
    batcher = batcher_of(gate)
    busy = batcher.submit("gpu", [1], 10)
    await taken(gate, 1)
    unlucky, cancelled, good = batcher.submit("gpu", [13, 2, 3], 10)
    with pytest.raises(ValueError, match="unlucky"):
        await unlucky
    cancelled.cancel()
    batcher.drop_done()
    gate.go.release(2)
    assert await asyncio.gather(*busy, good) == [2, 6]
    broken = batcher.submit("gpu", [666], 10)[0]
    gate.go.release(2)
    with pytest.raises(RuntimeError, match="broken"):
        await broken
    assert await batcher.submit("gpu", [4], 10)[0] == 8
    await asyncio.to_thread(batcher.close)


async def test_what_waits_for_a_device_counts_and_can_be_late() -> None:
    gate = Gate()
    batcher = batcher_of(gate, max_queue=2)
    items = batcher.submit("gpu", [1, 1], 10)
    await taken(gate, 1)
    if len(gate.batches[0]) == 1:  # the other waits
        items += batcher.submit("gpu", [1], 10)
    await taken(gate, 2) if len(items) == 3 else await settled()
    (late,) = batcher.submit("gpu", [2], 0.05)
    with pytest.raises(DeadlineExceededError):
        await late
    batcher.submit("gpu", [3], 10)
    await prepared(batcher, "gpu")
    with pytest.raises(QueueFullError):
        batcher.submit("gpu", [4, 5], 10)
    gate.go.release(100)
    await asyncio.gather(*items)
    await asyncio.to_thread(batcher.close)


async def test_close_answers_what_waits_for_a_device() -> None:
    gate = Gate()
    batcher = batcher_of(gate)
    items = batcher.submit("gpu", list(range(9)), 10)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    gate.go.release(100)
    assert await asyncio.gather(*items) == [2 * value for value in range(9)]
    await closing


async def test_stuck_device_is_a_fault() -> None:
    gate = Gate()
    batcher = batcher_of(gate)
    items = batcher.submit("gpu", [1], 10)
    await taken(gate, 1)
    assert batcher.fault(limit=10) is None
    await settled()
    assert "device-" in str(batcher.fault(limit=0.01))
    gate.go.release()
    await items[0]
    await asyncio.to_thread(batcher.close)

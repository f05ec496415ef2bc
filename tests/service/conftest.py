"""An app around a fake engine: HTTP tests without a model file, in milliseconds."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.http.app import create_app
from service.inference.classification import Classification
from service.inference.classifier import Classifier, ModelInfo, Observer
from service.inference.engine import CPU
from service.inference.memory_file import SealedFile
from service.inference.model_server import ModelServer
from service.inference.resizing import ResizeRule
from service.inference.second_view import SecondViewRule
from service.inference.snapshot import LoadedModel, Snapshot
from service.settings import Settings
from tests.service.models import LABELS, write_model

RULE = ResizeRule(mode="stretch", filter="bilinear")


class FakeEngine:
    """Answers as the tiny model does; can be held, broken, and asked what it was given."""

    def __init__(self) -> None:
        self.height = self.width = 8
        self.metadata: dict[str, str] = {}
        self.provider = self.requested_provider = CPU
        self.degraded_reason: str | None = None
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.batches: list[int] = []

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.batches.append(len(images))
        assert self.go.wait(10)
        if self.error:
            raise self.error
        logits = images.astype(np.float32).mean((1, 2)) * (4 / 255)
        total = np.exp(logits).sum(1)
        return np.exp(logits) / total[:, None], np.log(total)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio alone, as the service does."""
    return "asyncio"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def make_app(engine: FakeEngine, tmp_path: Path) -> Callable[..., FastAPI]:
    """Builds an app around the fake engine, with the given settings."""
    return lambda **settings: app_around(engine, tmp_path, **settings)


def app_around(engine: FakeEngine, folder: Path, **settings: object) -> FastAPI:
    """An app around a fake engine, with the given settings and a folder for its files."""

    def build(settings: Settings, _order: object, _before: object, observe: Observer) -> Snapshot:
        return snapshot_of(fake_model(engine, settings, observe))

    validated = Settings.model_validate({"threads": 1, **settings})
    return create_app(validated, ModelServer(validated, build), folder)


def fake_model(
    engine: FakeEngine,
    settings: Settings,
    observe: Observer = lambda _model, _stage, _seconds: None,
    *,
    name: str = "tiny",
    version: int = 1,
    second_view: SecondViewRule | None = None,
) -> LoadedModel:
    """A model around a fake engine."""
    info = ModelInfo(name, version, "model.onnx", "0" * 64, LABELS, RULE, 0.5, second_view)
    classifier = Classifier(info, engine, max_pixels=settings.max_pixels, observe=observe)
    return LoadedModel(classifier, SealedFile.of(b'{"name": "tiny"}'), SealedFile.of(b""))


def snapshot_of(*models: LoadedModel) -> Snapshot:
    """A snapshot of models with different names, the first of which is the default."""
    return Snapshot({model.name: [model] for model in models}, models[0].name)


@contextmanager
def started(app: FastAPI) -> Iterator[TestClient]:
    """A client of an app, once it has its model."""
    with TestClient(app) as client:
        deadline = time.monotonic() + 10
        # To ask for it by HTTP would make FastAPI complete all routes before those of the probes.
        while app.state.model_server.snapshot is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        yield client


@pytest.fixture
def make_client(make_app: Callable[..., FastAPI]) -> Iterator[Callable[..., TestClient]]:
    """Starts an app around the fake engine, with the given settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(started(make_app(**settings)))


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


@pytest.fixture(scope="module")
def common_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for all tests of a module whose requests are refused before they change anything."""
    with started(app_around(FakeEngine(), tmp_path_factory.mktemp("common"))) as client:
        yield client


@pytest.fixture
def tiny_models(tmp_path: Path) -> Path:
    """A model repository that holds the tiny model `tiny`, version 1."""
    write_model(tmp_path)
    return tmp_path


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[ModelServer]:
    """Runs an app on the test's own event loop, from when it is ready."""
    model_server: ModelServer = app.state.model_server
    async with app.router.lifespan_context(app):
        while model_server.status != "ok":
            await asyncio.sleep(0.01)
        yield model_server


async def keep_busy(
    model_server: ModelServer, engine: FakeEngine
) -> "asyncio.Future[Classification]":
    """Holds the engine, and its one worker with it, until `engine.go` is set."""
    engine.go.clear()
    before = len(engine.batches)
    (busy,) = model_server.submit(model_server.find(), [colour("red")])
    while len(engine.batches) == before:
        await asyncio.sleep(0.01)
    return busy


def encode(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    """Encodes a picture."""
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def colour(name: str) -> bytes:
    """A PNG of one colour, 16 x 12 pixels."""
    return encode(Image.new("RGB", (16, 12), name))

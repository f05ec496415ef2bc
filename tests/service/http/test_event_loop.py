"""No body, however hostile, holds the event loop: all other requests wait for it meanwhile."""

import asyncio
import gc
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from PIL import Image
from starlette.types import Message

from service.http.parameters import HEADER_LENGTH, MAX_JSON_AND_STRINGS_BYTES, MAX_JSON_BYTES
from tests.service.conftest import FakeEngine, encode, running

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

MAX_PAUSE_S = 0.010
TRIES = 3
CHUNK = 327_680  # the most that uvicorn hands over at a time
LARGE = 19_000_000  # close to the limit of the body
FORM = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
END = b"\r\n--b--\r\n"
INFER = "/v2/models/tiny/infer"
PREDICT = "/v1/models/tiny:predict"
LONG = MAX_JSON_AND_STRINGS_BYTES - 100
INPUT = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,8,8,3],"data":['


def fill(piece: bytes, size: int = LARGE) -> bytes:
    return piece * (size // len(piece))


def json_of(piece: bytes, size: int = MAX_JSON_BYTES - 100) -> bytes:
    """An inference request whose data are one value many times."""
    return INPUT + b",".join([piece] * (size // (len(piece) + 1))) + b"]}]}"


def instances_of(piece: bytes, size: int = LONG) -> bytes:
    return b'{"instances":[' + piece * (size // len(piece)) + b"0]}"


# Made by `bodies`, as together they are too large for test processes that do not send them.
BODIES: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "raw zeros": ("/predict", "image/png", lambda: bytes(LARGE)),
    "one large file": ("/predict", FORM, lambda: FILE + bytes(LARGE) + END),
    "carriage returns": ("/predict", FORM, lambda: FILE + fill(b"\r") + END),
    "line ends": ("/predict", FORM, lambda: FILE + fill(b"\r\n") + END),
    "near delimiters": ("/predict", FORM, lambda: FILE + fill(b"\r\n-") + END),
    "false delimiters": ("/predict", FORM, lambda: FILE + fill(b"\r\n--bx") + END),
    "few false delimiters": ("/predict", FORM, lambda: FILE + fill(b"\r\n--bx", 900_000) + END),
    "blanks behind a delimiter": ("/predict", FORM, lambda: b"--b" + fill(b" ") + FILE[3:] + END),
    "mixed blanks behind a delimiter": (
        "/predict",
        FORM,
        lambda: b"--b" + fill(b" \t", 4_000_000) + FILE[3:] + END,
    ),
    "blanks behind many delimiters": (
        "/predict/batch",
        FORM,
        lambda: (b"--b" + b" " * 3_900 + FILE[3:] + b"x\r\n") * 60 + END[2:],
    ),
    "options of parts": (
        "/predict/batch",
        FORM,
        lambda: FILE.replace(b"\r\n\r\n", b";" * 4_000 + b"\r\n\r\nx\r\n") * 60 + END[2:],
    ),
    "options of the form": ("/predict", FORM + ";" * 60_000, lambda: FILE + b"x" + END),
    "base64": (
        "/predict",
        FORM,
        lambda: FILE[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\n" + fill(b"QUJD\r\n") + END,
    ),
    "preamble": ("/predict", FORM, lambda: fill(b"-\r\n") + FILE + END),
    "no delimiter": ("/predict", FORM, lambda: fill(b"--")),
    "headers": ("/predict", FORM, lambda: b"--b\r\n" + fill(b"A: b\r\n")),
    "parts": ("/predict/batch", FORM, lambda: fill(FILE + b"x\r\n")),
    "many files": (
        "/predict/batch",
        FORM,
        lambda: fill(FILE.replace(b'"file"', b'"files"') + bytes(290_000) + b"\r\n") + END[2:],
    ),
    "JSON of unknown keys": (
        INFER,
        "application/json",
        lambda: (
            json_of(b"0", 400)[:-1]
            + b',"outputs":[{"name":"energy","parameters":{'
            + b",".join(b'"%d":1' % number for number in range(13_000))
            + b"}}]}"
        ),
    ),
    "JSON of lists": (INFER, "application/json", lambda: json_of(b"[]")),
    "JSON of objects": (INFER, "application/json", lambda: json_of(b'{"":1}')),
    "JSON of numbers": (INFER, "application/json", lambda: json_of(b"1")),
    "JSON of long numbers": (INFER, "application/json", lambda: json_of(b"9" * 1000)),
    "deep JSON": (INFER, "application/json", lambda: INPUT + fill(b"[", MAX_JSON_BYTES - 100)),
    "large JSON": (INFER, "application/json", lambda: json_of(b"1", LARGE)),
    "JSON of a long string": (
        PREDICT,
        "application/json",
        lambda: b'{"instances":[{"b64":"' + fill(b"A", LONG) + b'"}]}',
    ),
    "JSON of many long strings": (
        PREDICT,
        "application/json",
        lambda: instances_of(b'"%0200d",' % 0),
    ),
    "JSON of short strings": (PREDICT, "application/json", lambda: instances_of(b'"",')),
    "JSON of a string with escapes": (
        PREDICT,
        "application/json",
        lambda: instances_of(b'"' + fill(b"\\n", LONG - 10) + b'",'),
    ),
    "JSON of a string that is not ASCII": (
        PREDICT,
        "application/json",
        lambda: instances_of(b'"' + fill("é".encode(), LONG - 10) + b'",'),
    ),
    "long JSON of numbers": (PREDICT, "application/json", lambda: instances_of(b"1,")),
    "long JSON of blanks": (PREDICT, "application/json", lambda: instances_of(b" ")),
    "instances": (PREDICT, "application/json", lambda: instances_of(b"[],", MAX_JSON_BYTES - 100)),
    "index": ("/v2/repository/index", "application/json", lambda: b"[" + fill(b"[],") + b"0]"),
    "load": (
        "/v2/repository/models/tiny/load",
        "application/json",
        lambda: fill(b'{"parameters":'),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Leaves what the tests have made to no search for garbage, as a worker does."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    """All of them, before the first is sent: none is made while a pause is measured."""
    return {name: make() for name, (_, _, make) in BODIES.items()}


class Pauses:
    """Measures the longest time that the event loop computes without a break.

    It counts the time of the loop's own thread on the processor, so that other processes do not
    matter.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._last = time.thread_time()
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest_s = max(self.longest_s, now - self._last)
        self._last = now
        self._loop.call_soon(self._tick)


async def measured_pause(measure: Callable[[], Awaitable[float]]) -> float:
    """The first measurement that is short enough, else the last of three.

    On a virtual machine the time of a thread has in it what the host takes away.
    """
    for _ in range(TRIES):
        if (pause_s := await measure()) < MAX_PAUSE_S:
            break
    return pause_s


async def send(
    app: FastAPI, path: str, content_type: str, body: bytes, query: str = "", **headers: str
) -> int:
    """Sends a request as uvicorn does, chunk by chunk; returns its status."""
    starts = range(0, len(body), CHUNK)
    chunks: Iterator[Message] = iter(
        {
            "type": "http.request",
            "body": body[start : start + CHUNK],
            "more_body": start + CHUNK < len(body),
        }
        for start in starts
    )
    statuses = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return next(chunks)

    async def keep_status(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [
                (b"content-type", content_type.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"x-api-key", b"admin"),
                *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            ],
        },
        receive,
        keep_status,
    )
    (status,) = statuses
    assert isinstance(status, int)
    return status


@pytest.mark.parametrize("name", BODIES)
async def test_hostile_body_does_not_hold_the_event_loop(
    make_app: Callable[..., FastAPI], bodies: dict[str, bytes], name: str
) -> None:
    app = make_app(admin_keys="admin")
    path, content_type, _ = BODIES[name]

    async def measure() -> float:
        pauses = Pauses()
        status = await send(app, path, content_type, bodies[name])
        assert 400 <= status < 500 or name == "many files"
        return pauses.longest_s

    async with running(app):
        assert await measured_pause(measure) < MAX_PAUSE_S


def compressed_blanks(size: int) -> bytes:
    """Blanks that gzip makes a thousand times smaller."""
    piece = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return (
        b"".join(piece.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)) + piece.flush()
    )


@pytest.mark.parametrize("path", [INFER, PREDICT])
@pytest.mark.parametrize("expanded", [1_000_000, 4_000_000, LARGE, 200_000_000])
async def test_compressed_body_does_not_hold_the_event_loop(
    make_app: Callable[..., FastAPI], path: str, expanded: int
) -> None:
    body = compressed_blanks(expanded)
    app = make_app()
    headers = {"content-encoding": "gzip", HEADER_LENGTH: str(MAX_JSON_BYTES)}

    async def measure() -> float:
        pauses = Pauses()
        status = await send(app, path, "application/json", body, **headers)
        assert status in (400, 413)
        return pauses.longest_s

    async with running(app):
        assert await measured_pause(measure) < MAX_PAUSE_S


async def test_picture_as_the_model_saw_it_does_not_hold_the_event_loop(
    make_app: Callable[..., FastAPI], engine: FakeEngine
) -> None:
    engine.height = engine.width = 512
    noise = encode(Image.effect_noise((512, 512), 50).convert("RGB"))
    app = make_app()

    async def measure() -> float:
        pauses = Pauses()
        status = await send(app, "/predict", "image/png", noise, query="include_input=1")
        await asyncio.sleep(0)  # else a pause at the very end would not be seen
        assert status == 200
        return pauses.longest_s

    async with running(app):
        assert await measured_pause(measure) < MAX_PAUSE_S


async def test_measure_sees_what_holds_the_loop() -> None:
    pauses = Pauses()
    await asyncio.sleep(0)
    started = time.thread_time()
    while time.thread_time() - started < 2 * MAX_PAUSE_S:
        pass
    await asyncio.sleep(0)
    assert pauses.longest_s > MAX_PAUSE_S


async def test_openapi_document_is_built_beside_the_event_loop(
    make_app: Callable[..., FastAPI],
) -> None:
    async def measure() -> float:
        app = make_app()  # which keeps the document
        async with (
            running(app),
            AsyncClient(transport=ASGITransport(app), base_url="http://x") as client,
        ):
            assert (await client.get("/docs")).status_code == 200
            pauses = Pauses()
            assert (await client.get("/openapi.json")).status_code == 200
            return pauses.longest_s

    assert await measured_pause(measure) < MAX_PAUSE_S

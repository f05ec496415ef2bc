"""The server in a process of its own, over TCP."""

import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from service.hardware import nvidia_driver_visible
from service.inference.engine import CPU, CUDA
from tests.e2e import web
from tests.e2e.conftest import Server, StartServer

CAT = Path("tests/data/cat.jpg").read_bytes()

needs_no_gpu = pytest.mark.skipif(
    nvidia_driver_visible(), reason="this machine has an NVIDIA driver"
)


@pytest.fixture(scope="module")
def client(server: Callable[..., Server], tiny_models: Path) -> Iterator[httpx2.Client]:
    with (
        server(models=tiny_models, model="tiny") as running,
        httpx2.Client(base_url=running.url, timeout=web.TIMEOUT_S) as client,
    ):
        yield client


def encode(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def probabilities(client: httpx2.Client, picture: bytes) -> dict[str, float]:
    answer = client.post("/predict", content=picture).raise_for_status().json()
    return {p["label"]: p["probability"] for p in answer["predictions"]}


def test_raw_body_and_form_give_the_same_answer(client: httpx2.Client) -> None:
    raw = client.post("/predict", content=CAT)
    form = client.post("/predict", files={"file": ("cat.jpg", CAT)})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json()
    assert raw.json()["image"] == {"width": 451, "height": 300, "format": "JPEG"}


def turned(cat: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(cat.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def see_through(cat: Image.Image) -> bytes:
    """Hides a black lower half, which then is white."""
    cat = cat.convert("RGBA")
    cat.paste((0, 0, 0, 0), (0, 150, 451, 300))
    return encode(cat)


def half_white(cat: Image.Image) -> Image.Image:
    cat = cat.copy()
    cat.paste((255, 255, 255), (0, 150, 451, 300))
    return cat


def deep_grey(cat: Image.Image) -> bytes:
    grey = cat.convert("L")
    return encode(Image.frombytes("I;16", grey.size, np.repeat(np.asarray(grey), 2).tobytes()))


BLUE = [Image.new("RGB", (451, 300), "blue")]
# Each guise of a picture, and the upright RGB picture that it stands for.
GUISES: dict[str, tuple[Callable[[Image.Image], bytes], Callable[[Image.Image], Image.Image]]] = {
    "jpeg": (lambda cat: encode(cat, "JPEG", quality=95), Image.Image.copy),
    "webp": (lambda cat: encode(cat, "WEBP", quality=95), Image.Image.copy),
    "gif": (lambda cat: encode(cat, "GIF"), Image.Image.copy),
    "bmp": (lambda cat: encode(cat, "BMP"), Image.Image.copy),
    "exif": (turned, Image.Image.copy),
    "palette": (lambda cat: encode(cat.quantize(256)), Image.Image.copy),
    "alpha": (see_through, half_white),
    "grey": (lambda cat: encode(cat.convert("L")), lambda cat: cat.convert("L").convert("RGB")),
    "16-bit grey": (deep_grey, lambda cat: cat.convert("L").convert("RGB")),
    "cmyk": (lambda cat: encode(cat.convert("CMYK"), "JPEG", quality=95), Image.Image.copy),
    "animated gif": (
        lambda cat: encode(cat, "GIF", save_all=True, append_images=BLUE),
        Image.Image.copy,
    ),
    "animated webp": (
        lambda cat: encode(cat, "WEBP", quality=95, save_all=True, append_images=BLUE),
        Image.Image.copy,
    ),
}


@pytest.mark.parametrize("guise", GUISES)
def test_every_guise_gives_the_answer_of_the_rgb_picture(client: httpx2.Client, guise: str) -> None:
    cat = Image.open(io.BytesIO(CAT)).convert("RGB")
    disguise, plain = GUISES[guise]
    expected = probabilities(client, encode(plain(cat)))
    assert probabilities(client, disguise(cat)) == pytest.approx(expected, abs=0.01)


def test_problem_is_told_over_tcp(client: httpx2.Client) -> None:
    response = client.post("/predict", content=b"just words")
    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_body_over_the_limit_is_refused_before_it_is_sent(client: httpx2.Client) -> None:
    address = client.base_url.host, client.base_url.port or 0
    with socket.create_connection(address, timeout=10) as connection:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_batch_answers_every_file_in_order(client: httpx2.Client) -> None:
    files = [("files", ("x", data)) for data in (CAT, b"words", CAT)]
    results = client.post("/predict/batch", files=files).json()["results"]
    assert results[0] == results[2]
    assert results[1]["error"]["status"] == 415


def test_health_and_metrics_answer(client: httpx2.Client) -> None:
    health = client.get("/health").json()
    assert (health["status"], health["model"], health["provider"]) == ("ok", "tiny", CPU)
    assert client.get("/health/live").status_code == 200
    assert "classifier_batch_size_count" in client.get("/metrics").text


@needs_no_gpu
def test_cuda_that_is_not_there_is_degraded(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    with server(models=tiny_models, model="tiny", provider="cuda") as running:
        health = web.get(f"{running.url}/health").json()
        assert health["status"] == "degraded"
        assert (health["provider"], health["requested_provider"]) == (CPU, CUDA)
        assert health["reason"]
        assert web.post(f"{running.url}/predict", content=CAT).status_code == 200


def failed(server: Server) -> str:
    """Checks that a server ends with status 1 and one line; returns that line."""
    assert server.wait() == 1
    lines = server.log.read_text().splitlines()
    (reason,) = [line for line in lines if not line.startswith("{")]
    assert "Traceback" not in server.log.read_text()
    return reason


@needs_no_gpu
def test_required_cuda_that_is_not_there_refuses_to_start(
    start_server: StartServer, tiny_models: Path
) -> None:
    reason = failed(start_server(models=tiny_models, model="tiny", require_cuda=1))
    assert reason.startswith("error: CUDA cannot be used: ")


def test_missing_model_is_named(start_server: StartServer, tiny_models: Path) -> None:
    assert "'huge'" in failed(start_server(models=tiny_models, model="huge"))


def test_port_in_use_is_one_line(start_server: StartServer, tiny_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server(models=tiny_models, model="tiny", port=port)
        assert f"port {port} on 127.0.0.1 is already in use" in failed(server)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="has no sockets of both families")
def test_all_addresses_of_ipv6_include_those_of_ipv4(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    with server(models=tiny_models, model="tiny", workers=2, host="::") as running:
        port = running.url.rpartition(":")[2]
        assert running.url == f"http://[::]:{port}"
        for host in ("127.0.0.1", "[::1]"):
            for _ in range(10):
                answer = web.post(f"http://{host}:{port}/predict", content=CAT)
                assert answer.status_code == 200


def test_flag_wins_over_the_environment(tiny_models: Path) -> None:
    command = [sys.executable, "-m", "service", "--models", str(tiny_models), "--model", "flag"]
    ended = subprocess.run(
        command, env={"CIFAR10_MODEL": "variable", "CIFAR10_PORT": "0"}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "'flag'" in ended.stderr


def loaded_by(module: str) -> set[str]:
    script = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).split())


def test_service_loads_nothing_of_training() -> None:
    modules = loaded_by("service.process.worker")
    assert "onnxruntime" in modules
    assert not {"tensorflow", "keras", "pandas", "onnx", "training"} & modules


def test_supervisor_is_light() -> None:
    modules = loaded_by("service.__main__")
    assert "service.process.supervisor" in modules
    heavy = {"onnxruntime", "numpy", "PIL", "fastapi", "starlette", "uvicorn", "prometheus_client"}
    assert not heavy & modules


def test_idle_server_ends_cleanly_on_sigterm(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    running = server(models=tiny_models, model="tiny")
    assert running.stop() == 0
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert [line["level"] for line in lines if line["level"] != "info"] == []


def test_request_in_flight_is_answered_after_sigterm(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    running = server(models=tiny_models, model="tiny")
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CAT)}\r\n\r\n"
        connection.sendall(head.encode() + CAT[:1000])
        time.sleep(0.3)  # let the server begin with the request
        running.process.terminate()
        time.sleep(0.5)
        connection.sendall(CAT[1000:])
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"predictions"' in answer
    assert running.wait() == 0

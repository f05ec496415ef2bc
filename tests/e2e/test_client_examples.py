"""The examples of service/CLIENTS.md against a server that refuses: they wait, and send again."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e import chromium
from tests.e2e.conftest import Server
from tests.e2e.serving import ROOT
from tests.service.conftest import colour

TEXT = (ROOT / "service" / "CLIENTS.md").read_text()
KEY = "let-me-in"
RETRY_AFTER_S = 1
ANSWER = {"predictions": [{"label": "cat"}], "detail": "Wait."}


class Refusing(http.server.ThreadingHTTPServer):
    """Refuses the first request; remembers when each came, and with which key."""

    def __init__(self) -> None:
        """Listens on a free port of the loopback."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.times: list[float] = []
        self.keys: list[str | None] = []

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    server: Refusing
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Shows a page from which a file can be chosen."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self._finish(b"<input type=file>")

    def do_POST(self) -> None:
        """Refuses the first request by 503."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.times.append(time.monotonic())
        self.server.keys.append(self.headers["Authorization"] or self.headers["X-API-Key"])
        body = json.dumps(ANSWER).encode()
        if len(self.server.times) == 1:
            self.send_response(503)
            self.send_header("Retry-After", str(RETRY_AFTER_S))
        else:
            self.send_response(200)
        self._finish(body)

    def _finish(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keeps silent."""


@contextmanager
def refusing() -> Iterator[Refusing]:
    server = Refusing()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def example(kind: str, words: str) -> str:
    """The one block of a kind that holds these words."""
    blocks: list[str] = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.M | re.S)
    (code,) = [block for block in blocks if words in block]
    return code


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_waited(server: Refusing) -> None:
    """Two requests, each with the key, the second no earlier than it was told."""
    first, second = server.times
    assert second - first >= RETRY_AFTER_S
    assert [key and key.removeprefix("Bearer ") for key in server.keys] == [KEY, KEY]


def test_python_waits_as_it_is_told() -> None:
    code = example("python", "urllib3.Retry")
    with refusing() as server:
        output = run([sys.executable, "-c", code.replace("localhost:8000", server.address)])
        assert_waited(server)
    assert output == "cat\n"


def test_curl_waits_as_it_is_told() -> None:
    (command,) = re.findall(r"^\$ (.+)$", example("console", "--retry"), re.M)
    with refusing() as server:
        output = run(["bash", "-c", command.replace("localhost:8000", server.address)])
        assert_waited(server)
    assert output.endswith(json.dumps(ANSWER))


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_fetch_waits_as_it_is_told() -> None:
    code = example("js", "fetch(")
    call = 'console.log((await classify(new Blob(["x"])))[0].label)'
    with refusing() as server:
        code = code.replace("localhost:8000", server.address)
        output = run(["node", "--input-type=module", "--eval", f"{code}\n{call}"])
        assert_waited(server)
    assert output == "cat\n"


@pytest.mark.browser
@pytest.mark.skipif(chromium.EXECUTABLE is None, reason="there is no Chromium here")
def test_page_of_another_origin_classifies(
    server: Callable[..., Server], tiny_models: Path, tmp_path: Path
) -> None:
    """The browser asks first whether it may send the key, and shows the answer to the page."""
    (tmp_path / "red.png").write_bytes(colour("red"))
    settings = {"models": tiny_models, "model": "tiny", "workers": 1, "api_keys": KEY}
    with (
        refusing() as shop,
        server(**settings, cors_origins=f"http://{shop.address}") as running,
        sync_playwright() as playwright,
        chromium.launch(playwright) as browser,
    ):
        page = browser.new_page()
        page.goto(f"http://{shop.address}/")
        page.set_input_files("input", tmp_path / "red.png")
        code = example("js", "fetch(").replace("http://localhost:8000", running.url)
        call = "classify(document.querySelector('input').files[0])"
        assert page.evaluate(f"async () => {{ {code} return {call}; }}")[0]["label"] == "red"

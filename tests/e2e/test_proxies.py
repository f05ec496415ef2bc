"""A real server behind nginx, with the example configuration, and behind haproxy."""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import psutil
import pytest

from service.http.problems import MEDIA_TYPE
from service.settings import Settings
from tests.e2e import proxies, web
from tests.e2e.conftest import Server, StartServer
from tests.e2e.load import wait_until
from tests.service.conftest import colour

RED = colour("red")
PREFIX = "/cifar/"
CLIENT = "127.0.0.7"
LOG_WAIT_S = 10


@pytest.fixture(scope="module")
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    with server(models=tiny_models, model="tiny", workers=1, log_level="debug") as running:
        yield running


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(proxies.nginx, marks=proxies.needs_nginx, id="nginx"),
        pytest.param(proxies.haproxy, marks=proxies.needs_haproxy, id="haproxy"),
    ],
)
def prefixed(
    request: pytest.FixtureRequest, running: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address behind a proxy with a prefix, with a slash at the end."""
    folder = tmp_path_factory.mktemp("prefixed")
    with request.param(urlsplit(running.url).netloc, folder, PREFIX) as url:
        yield url


@pytest.fixture(
    scope="module",
    params=["nginx.conf", pytest.param("nginx-tls.conf", marks=proxies.needs_openssl)],
)
def nginx(
    request: pytest.FixtureRequest, running: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address behind nginx without a prefix, with a slash at the end."""
    folder, upstream = tmp_path_factory.mktemp("nginx"), urlsplit(running.url).netloc
    if request.param == "nginx.conf":
        with proxies.nginx(upstream, folder) as url:
            yield url
    else:
        with proxies.nginx_tls(upstream, folder) as encrypted:
            yield encrypted.url


def logged(server: Server, request_id: str) -> dict[str, Any]:
    """The line of the access log about a request; waits until it is written."""
    deadline = time.monotonic() + LOG_WAIT_S
    while time.monotonic() < deadline:
        for line in server.log.read_text().splitlines():
            fields: dict[str, Any] = json.loads(line)
            if fields.get("request_id") == request_id:
                return fields
        time.sleep(0.05)
    raise TimeoutError(server.log.read_text())


@pytest.mark.parametrize(
    "path", ["", "docs", "openapi.json", "static/page.js", "docs/files/swagger-ui.css"]
)
def test_head_is_answered_like_get(prefixed: str, path: str) -> None:
    url = urljoin(prefixed, path)
    given, asked = web.get(url), web.request("HEAD", url)
    assert given.status_code == asked.status_code == 200
    assert asked.headers["content-length"] == str(len(given.content))
    assert asked.content == b""


@pytest.mark.parametrize("path", ["docs/", "static", "predict/", "health/", "v2/"])
def test_no_redirect_leaves_the_prefix(prefixed: str, path: str) -> None:
    url = urljoin(prefixed, path)
    answer = web.get(url)
    assert urljoin(url, answer.headers.get("location", url)).startswith(prefixed)
    assert answer.status_code == 404


@proxies.needs_nginx
def test_nginx_hands_on_the_id_of_a_request(nginx: str, running: Server) -> None:
    answer = web.post(f"{nginx}predict", content=RED, headers={"X-Request-ID": "mine-42"})
    assert answer.headers.get_list("x-request-id") == ["mine-42"]
    assert logged(running, "mine-42")["status"] == 200


@proxies.needs_nginx
def test_nginx_makes_an_id_and_names_the_client(nginx: str, running: Server) -> None:
    headers = {"X-Forwarded-For": "192.0.2.7"}  # anyone can claim that
    transport = httpx2.HTTPTransport(verify=False, local_address=CLIENT)
    with httpx2.Client(transport=transport, timeout=web.TIMEOUT_S) as client:
        answer = client.post(f"{nginx}predict", content=RED, headers=headers)
    (request_id,) = answer.headers.get_list("x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert logged(running, request_id)["client"] == CLIENT


@proxies.needs_nginx
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_nginx_lets_the_largest_upload_pass_and_no_larger_one(nginx: str, chunked: bool) -> None:
    most = Settings().max_body_bytes

    def upload(size: int) -> httpx2.Response:
        body = RED + bytes(size - len(RED))
        return web.post(f"{nginx}predict", content=iter([body]) if chunked else body)

    assert upload(most).status_code == 200
    refused = upload(most + 1)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == MEDIA_TYPE
    refused = upload(most + 3_000_000)  # nginx itself counts here
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "text/html"


@proxies.needs_nginx
def test_nginx_keeps_its_connections_to_the_service(nginx: str, running: Server) -> None:
    def ports() -> set[int]:
        processes = psutil.Process(running.process.pid).children(recursive=True)
        connections = itertools.chain(*(process.net_connections("tcp") for process in processes))
        return {c.raddr.port for c in connections if c.status == psutil.CONN_ESTABLISHED}

    assert web.post(f"{nginx}predict", content=RED).status_code == 200
    kept = ports()
    assert kept
    for _ in range(5):
        assert web.post(f"{nginx}predict", content=RED).status_code == 200
    assert ports() == kept


@proxies.needs_nginx
def test_nginx_reaches_the_service_over_a_unix_socket(
    start_server: StartServer, tiny_models: Path, tmp_path: Path
) -> None:
    uds = tmp_path / "socket"
    with (
        start_server(models=tiny_models, model="tiny", workers=2, uds=uds) as running,
        proxies.nginx(f"unix:{uds}", tmp_path, PREFIX) as url,
    ):
        wait_until(lambda: web.get(f"{url}health/ready").status_code == 200)
        answer = web.post(f"{url}predict", content=RED)
        assert answer.json()["predictions"][0]["label"] == "red"
        (request_id,) = answer.headers.get_list("x-request-id")
        assert logged(running, request_id)["status"] == 200

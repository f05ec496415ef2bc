"""Real nginx and haproxy in front of a server, each on a free port of the loopback."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.benchmark.loopback import free_port

NGINX_CONF = Path(__file__).parents[2] / "docker" / "nginx.conf"
WAIT_S = 20

# Debian keeps both in /usr/sbin, which is not on every user's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
NGINX = shutil.which("nginx", path=_PATH)
HAPROXY = shutil.which("haproxy", path=_PATH)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

# For each request, a proxy writes a line to `requests` in its folder: the address of the server
# that it passed the request to, if any, and the request line.
# nginx is one process, which ends on SIGTERM and needs no other user; its files stay in the folder.
_NGINX_MAIN = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
    log_format handed_on "$upstream_addr $request";
    access_log {folder}/requests handed_on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
_HAPROXY_CONF = """\
defaults
    mode http
    log stdout format raw daemon
    log-format "%si:%sp %r"
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend public
    bind 127.0.0.1:{port}
    http-request deny deny_status 404 unless {{ path_beg {prefix} }}
    http-request replace-path {prefix}(.*) /\\1
    default_backend service
backend service
    server service {upstream}
"""


@contextmanager
def nginx(upstream: str, folder: Path, prefix: str = "/", upgrade: bool = False) -> Iterator[str]:
    """Starts nginx with docker/nginx.conf.

    Args:
        upstream: address of the server as nginx writes it: `127.0.0.1:8000`, `unix:/path`.
        folder: an empty folder for its files.
        prefix: path under which it offers the server; begins and ends with a slash.
        upgrade: whether it passes the header `Upgrade` on, as a common recipe for WebSocket does.

    Yields:
        The address of the server behind the proxy, with a slash at the end.
    """
    assert NGINX is not None
    port = free_port()
    site = NGINX_CONF.read_text()
    connection = 'proxy_set_header Connection "";'
    offer = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
    for given, wanted in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "server cifar10-serve:8000;": f"server {upstream};",
        "location / {": f"location {prefix} {{",
        connection: offer if upgrade else connection,
    }.items():
        assert site.count(given) == 1, given
        site = site.replace(given, wanted)
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(_NGINX_MAIN.format(folder=folder))
    command = [NGINX, "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]
    with running(command, port, folder / "log", folder / "output"):
        yield f"http://127.0.0.1:{port}{prefix}"


@contextmanager
def haproxy(upstream: str, folder: Path, prefix: str = "/") -> Iterator[str]:
    """Starts haproxy with little more than its defaults; see `nginx`."""
    assert HAPROXY is not None
    port = free_port()
    conf = _HAPROXY_CONF.format(port=port, prefix=prefix, upstream=upstream)
    (folder / "haproxy.cfg").write_text(conf)
    command = [HAPROXY, "-db", "-f", str(folder / "haproxy.cfg")]
    with running(command, port, folder / "log", folder / "requests"):
        yield f"http://127.0.0.1:{port}{prefix}"


@contextmanager
def running(command: list[str], port: int, log: Path, output: Path) -> Iterator[None]:
    """Runs a proxy that listens on a port of the loopback; what it writes goes to two files."""
    with log.open("ab") as stderr, output.open("wb") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
    try:
        _wait_until_open(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(log.read_text())

"""Real nginx and haproxy in front of a server, each on a free port of the loopback."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.benchmark.loopback import free_port

_DOCKER = Path(__file__).parents[2] / "docker"
NGINX_CONF = _DOCKER / "nginx.conf"
NGINX_TLS_CONF = _DOCKER / "nginx-tls.conf"
WAIT_S = 20

# Debian keeps both in /usr/sbin, which is not on every user's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
NGINX = shutil.which("nginx", path=_PATH)
HAPROXY = shutil.which("haproxy", path=_PATH)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
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
    port = free_port()
    connection = 'proxy_set_header Connection "";'
    offer = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
    changes = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "server cifar10-serve:8000;": f"server {upstream};",
        "location / {": f"location {prefix} {{",
        connection: offer if upgrade else connection,
    }
    with _nginx(NGINX_CONF, changes, port, folder):
        yield f"http://127.0.0.1:{port}{prefix}"


class Encrypted(NamedTuple):
    """The addresses of nginx with TLS, each with a slash at the end, and its certificate."""

    url: str
    plain_url: str
    certificate: Path


@contextmanager
def nginx_tls(upstream: str, folder: Path, grpc_upstream: str = "") -> Iterator[Encrypted]:
    """Starts nginx with docker/nginx-tls.conf and a certificate that it has signed itself.

    Args:
        upstream: address of the server for HTTP, as nginx writes it.
        folder: an empty folder for its files.
        grpc_upstream: address of the server for gRPC, if it has one.
    """
    certificate, key = folder / "certificate", folder / "key"
    make_certificate(certificate, key)
    port, plain_port = free_port(), free_port()
    changes = {
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/tls/cifar10.crt": str(certificate),
        "/etc/nginx/tls/cifar10.key": str(key),
        "server cifar10-serve:8000;": f"server {upstream};",
        "server cifar10-serve:8001;": f"server {grpc_upstream or upstream};",
    }
    with _nginx(NGINX_TLS_CONF, changes, port, folder):
        plain_url = f"http://127.0.0.1:{plain_port}/"
        yield Encrypted(f"https://127.0.0.1:{port}/", plain_url, certificate)


def make_certificate(certificate: Path, key: Path) -> None:
    """Writes a key and a certificate for 127.0.0.1 that is signed by that key, valid for a day."""
    kind = ["-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "1"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(["openssl", "req", *kind, *names, *files], check=True, capture_output=True)


@contextmanager
def _nginx(conf: Path, changes: dict[str, str], port: int, folder: Path) -> Iterator[None]:
    """Runs nginx with a file of docker/, in which changes replace texts that stand there once."""
    assert NGINX is not None
    site = conf.read_text()
    for given, wanted in changes.items():
        assert site.count(given) == 1, given
        site = site.replace(given, wanted)
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(_NGINX_MAIN.format(folder=folder))
    command = [NGINX, "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]
    with running(command, port, folder / "log", folder / "output"):
        yield


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

"""The names of other packages that we use and that they may change without notice.

`pyproject.toml` holds each of these packages below its next minor version. After an upgrade this
test says which of the names are gone; then look at what became of them, and change the file that
uses them.
"""

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

UVICORN = "uvicorn.protocols.http.httptools_impl"
PROTOCOL = f"{UVICORN}:HttpToolsProtocol"
CYCLE = f"{UVICORN}:RequestResponseCycle"

# By the file that uses them: module, object and name. A name in `self.` is set by the object.
NAMES = {
    "service/http/protocol.py": [
        ("uvicorn._types", "ASGI3Application"),
        ("uvicorn._types", "ASGIReceiveEvent"),
        (UVICORN, "STATUS_LINE"),
        (PROTOCOL, "_should_upgrade"),
        (PROTOCOL, "_start_asgi_task"),
        (PROTOCOL, "_unset_keepalive_if_required"),
        *((PROTOCOL, name) for name in ("connection_made", "connection_lost", "data_received")),
        *((PROTOCOL, name) for name in ("on_message_begin", "on_headers_complete", "on_body")),
        *((PROTOCOL, name) for name in ("on_message_complete", "on_response_complete")),
        *((PROTOCOL, name) for name in ("pause_writing", "resume_writing", "shutdown")),
        *((PROTOCOL, f"self.{name}") for name in ("client", "cycle", "flow", "headers", "loop")),
        *((PROTOCOL, f"self.{name}") for name in ("parser", "pipeline", "transport", "url")),
        *((PROTOCOL, f"self.{name}") for name in ("server_state", "expect_100_continue")),
        *((CYCLE, f"self.{name}") for name in ("disconnected", "keep_alive", "message_event")),
        *((CYCLE, f"self.{name}") for name in ("response_complete", "scope")),
        (CYCLE, "receive"),
        ("uvicorn.protocols.http.flow_control:FlowControl", "resume_reading"),
        ("uvicorn.protocols.http.flow_control:FlowControl", "self.write_paused"),
        ("uvicorn.server:ServerState", "self.default_headers"),
        ("httptools:HttpRequestParser", "should_upgrade"),
        ("httptools", "HttpParserUpgrade"),
    ],
    "service/process/worker.py": [
        *(("uvicorn.server:Server", name) for name in ("startup", "shutdown", "on_tick")),
        *(("uvicorn.server:Server", f"self.{name}") for name in ("lifespan", "server_state")),
        ("uvicorn.server:ServerState", "self.connections"),
        ("uvicorn.config:Config", "self.encoded_headers"),
        ("uvicorn.config:Config", "self.http_protocol_class"),
    ],
    "service/observability/metrics.py": [
        ("prometheus_client:Histogram", "self._sum"),
        ("prometheus_client:Histogram", "self._buckets"),
        ("prometheus_client:Histogram", "self._upper_bounds"),
    ],
    "service/observability/metric_files.py": [
        ("prometheus_client.values", "ValueClass"),
        ("prometheus_client.values", "MultiProcessValue"),
    ],
    "service/http/routing.py": [
        ("starlette.routing:Route", "matches"),
        ("fastapi.routing:APIRoute", "matches"),
    ],
    "service/http/multipart.py": [
        ("python_multipart.multipart:MultipartParser", "self.state"),
        ("python_multipart.multipart:MultipartState", "BOUNDARY_PADDING"),
    ],
    "service/http/routes/page.py": [("fastapi_offline", "static")],
    "service/process/supervisor.py": [("multiprocessing.util", "register_after_fork")],
    "service/process/worker_pool.py": [
        ("multiprocessing.resource_tracker", "ensure_running"),
        ("multiprocessing.util", "register_after_fork"),
    ],
    "service/inference/pictures/formats.py": [
        ("PIL.AvifImagePlugin", "DEFAULT_MAX_THREADS"),
        *(("pi_heif.options", f"{name}_IMAGES") for name in ("DEPTH", "AUX")),
        *(("pi_heif.options", name) for name in ("DECODE_THREADS", "THUMBNAILS")),
    ],
    "service/inference/pictures/png.py": [("PIL.ImageFile:_Tile", "_replace")],
}
CASES = [(file, *where) for file, names in NAMES.items() for where in names]


@pytest.mark.parametrize(("file", "where", "name"), CASES)
def test_name_is_still_there(file: str, where: str, name: str) -> None:
    assert Path(file).is_file(), f"{file} is gone: take its names out of this list"
    package = where.partition(".")[0].partition(":")[0]
    assert has(where, name), (
        f"{where} has no {name.removeprefix('self.')!r} any more, which {file} uses: see what "
        f"the new version of {package} has in its place before you upgrade"
    )


def has(where: str, name: str) -> bool:
    """Whether a module, or a class in it, has a name, or its methods set it on `self`."""
    module_name, _, class_name = where.partition(":")
    module = importlib.import_module(module_name)
    owner = getattr(module, class_name) if class_name else module
    if not name.startswith("self."):
        return hasattr(owner, name) or (Path(module.__path__[0]) / name).exists()
    assert isinstance(owner, type)
    sources = [
        inspect.getsource(base) for base in inspect.getmro(owner) if base.__module__ != "builtins"
    ]
    return any(re.search(rf"\bself\.{name[5:]}\b.*=", source) for source in sources)


@pytest.mark.parametrize(
    ("where", "name"),
    [("uvicorn.server:Server", "nope"), ("uvicorn.server:Server", "self.nope")],
)
def test_name_that_is_gone_is_noticed(where: str, name: str) -> None:
    with pytest.raises(AttributeError) if "self" not in name else pytest.raises(AssertionError):
        assert has(where, name)


@pytest.mark.parametrize(
    "package",
    [
        *("fastapi", "httptools", "pillow", "prometheus-client"),
        *("python-multipart", "simplejpeg", "starlette", "uvicorn"),
    ],
)
def test_package_is_held_below_its_next_minor_version(package: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    (requirement,) = [
        line for line in project["dependencies"] if re.match(rf"{package}[~=<>]", line)
    ]
    assert re.fullmatch(rf"{package}~=\d+\.\d+\.\d+", requirement)

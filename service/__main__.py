"""Command line: `python -m service`."""

import errno
import logging
import signal
import socket
import sys
import warnings
from types import FrameType

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from service import logs
from service.app import create_app
from service.config import Settings
from service.runtime import Runtime

logger = logging.getLogger("service")

# How long requests in flight may go on after SIGTERM.
GRACE_S = 20


class _Server(uvicorn.Server):
    """Tells the runtime that the end is near, and stops when the model cannot be loaded."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime) -> None:
        super().__init__(config)
        self._runtime = runtime

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._runtime.draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._runtime.failure is not None


def main(argv: list[str] | None = None) -> int:
    """Serves until told to stop.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        Exit status: 0 after SIGTERM or Ctrl-C, 1 when it cannot start, 2 for wrong settings.
    """
    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:] if argv is None else argv)
    except (ValidationError, SettingsError) as error:
        return _fail(_explain(error), status=2)
    # Uvicorn raises the signal again when it has shut down: then leave, and quietly.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    # Pillow warns of odd pictures, which is the sender's business: the answer says what counts.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logs.configure(settings.log_level, settings.log_format)
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        return _fail(_explain_listen(error, settings.host, settings.port))
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("listening", extra={"fields": {"url": url}})
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    _Server(config, app.state.runtime).run([listener])
    failure: Exception | None = app.state.runtime.failure
    return 0 if failure is None else _fail(str(failure))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _explain_listen(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is already in use: "
            "stop what uses it, or choose another with --port"
        )
    # The standard library adds the address a second time, in brackets.
    return f"cannot listen on {host}, port {port}: {str(error.strerror).partition(' (')[0]}"


def _explain(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


def _fail(reason: str, status: int = 1) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())

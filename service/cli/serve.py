"""Command line: `python -m service` and `cifar10-serve serve`."""

import contextlib
import errno
import logging
import os
import re
import sys
from argparse import Action, ArgumentParser
from pathlib import Path
from socket import socket

from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource, SettingsError

from service import NAME, RELEASE
from service.environment import check_variables
from service.errors import StartupError
from service.observability.logging import configure
from service.process.sockets import listen, listen_unix, reserve
from service.process.supervisor import Supervisor
from service.process.worker_pool import run_worker
from service.settings import Settings, explain

# Plain words for the types that pydantic-settings would show.
_METAVARS = {
    r"\bint\b|\bfloat\b": "NUMBER",
    r"\bstr\b": "TEXT",
    r"\bPath\b": "PATH",
    r"tuple\[.*\]": "LIST",
}
_NO_DEFAULT = re.compile(r" \((default: (None|\(\))|default factory: \w+)\)$")

logger = logging.getLogger("service")


def main(argv: list[str] | None = None) -> int:
    """Serves until told to stop, by default with the arguments of the process.

    Returns:
        Exit status: 0 after SIGTERM or Ctrl-C, 1 if the service cannot start or requests were cut
        off, 2 for wrong settings.
    """
    try:
        settings = _parse(sys.argv[1:] if argv is None else argv)
    except (ValidationError, SettingsError) as error:
        return _fail(explain(error), status=2)
    configure(settings.log_level, settings.log_format)
    try:
        check_variables(os.environ)
    except StartupError as error:
        return _fail(str(error), status=2)
    settings = settings.model_copy(update={"workers": _count_workers(settings)})
    try:
        listeners = _listen(settings)
    except OSError as error:
        return _fail(_explain_listen(error, settings))
    fields = {
        **_address(listeners[0], settings.uds),
        "workers": len(listeners),
        "needs_keys": settings.has_keys,
        "release": RELEASE,
    }
    with contextlib.ExitStack() as stack:
        if settings.grpc_port is not None:
            try:
                reserved = stack.enter_context(reserve(settings.host, settings.grpc_port))
            except OSError as error:
                place = f"port {settings.grpc_port} on {settings.host}"
                return _fail(_explain(error, place, "--grpc-port"))
            settings = settings.model_copy(update={"grpc_port": reserved.getsockname()[1]})
            fields["grpc_port"] = settings.grpc_port
        logger.info("listening", extra={"fields": fields})
        supervisor = Supervisor(settings, listeners, run_worker)
        status = supervisor.run()
    return status if supervisor.failure is None else _fail(supervisor.failure)


def _parse(arguments: list[str]) -> Settings:
    source: CliSettingsSource[ArgumentParser] = CliSettingsSource(
        Settings, add_argument_method=_add_argument
    )
    about = f"{NAME} {RELEASE}"
    source.root_parser.add_argument("--version", action="version", version=about)
    return CliApp.run(Settings, cli_args=arguments, cli_settings_source=source)


def _add_argument(parser: ArgumentParser, *names: str, **options: str) -> Action:
    """Adds an argument, with plain words in its line of the help."""
    if "metavar" in options:
        for types, word in _METAVARS.items():
            options["metavar"] = re.sub(types, word, options["metavar"])
    if "help" in options:
        options["help"] = _NO_DEFAULT.sub("", options["help"])
    return parser.add_argument(*names, **options)  # type: ignore[arg-type]


def _count_workers(settings: Settings) -> int:
    """Decides this once: the models may be others by the time that a worker is replaced."""
    if settings.workers != "auto":
        return settings.workers
    # Imported late to keep the supervisor light where it starts no worker by a fork.
    from service.inference.selection import selected_bytes

    return settings.workers_for(selected_bytes(settings))


def _listen(settings: Settings) -> list[socket]:
    if settings.uds:
        return listen_unix(settings.uds, settings.worker_count)
    return listen(settings.host, settings.port, settings.worker_count)


def _address(listener: socket, uds: Path | None) -> dict[str, str]:
    if uds:
        return {"uds": str(uds)}
    host, port = listener.getsockname()[:2]
    return {"url": f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"}


def _explain_listen(error: OSError, settings: Settings) -> str:
    if settings.uds:
        return _explain(error, str(settings.uds), "--uds")
    return _explain(error, f"port {settings.port} on {settings.host}", "--port")


def _explain(error: OSError, place: str, other: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{place} is already in use: stop what uses it, or choose another with {other}"
    # The standard library adds the address a second time, in brackets.
    reason = str(error.strerror or error).partition(" (")[0]
    return f"cannot listen on {place}: {reason}"


def _fail(reason: str, status: int = 1) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return status

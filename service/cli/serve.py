"""Command line: `python -m service` and `cifar10-serve serve`."""

import errno
import logging
import sys

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from service.observability.logging import configure
from service.process.sockets import listen
from service.process.supervisor import Supervisor
from service.settings import Settings, explain

logger = logging.getLogger("service")


def main(argv: list[str] | None = None) -> int:
    """Serves until told to stop.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        Exit status: 0 after SIGTERM or Ctrl-C, 1 when it cannot start or had to be cut short, 2 for
        wrong settings.
    """
    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:] if argv is None else argv)
    except (ValidationError, SettingsError) as error:
        return _fail(explain(error), status=2)
    configure(settings.log_level, settings.log_format)
    try:
        listeners = listen(settings.host, settings.port, settings.worker_count)
    except OSError as error:
        return _fail(_explain_listen(error, settings.host, settings.port))
    host, port = listeners[0].getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("listening", extra={"fields": {"url": url, "workers": len(listeners)}})
    supervisor = Supervisor(settings, listeners)
    status = supervisor.run()
    return status if supervisor.failure is None else _fail(supervisor.failure)


def _explain_listen(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is already in use: "
            "stop what uses it, or choose another with --port"
        )
    # The standard library adds the address a second time, in brackets.
    return f"cannot listen on {host}, port {port}: {str(error.strerror).partition(' (')[0]}"


def _fail(reason: str, status: int = 1) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return status

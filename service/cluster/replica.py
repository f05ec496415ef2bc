"""The parts of a replica that do not need the package of the engine."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import LoadFailedError
from service.inference.served_model import Change
from service.observability.statistics import Sample
from service.settings import Settings


def replica_settings(resources: Mapping[str, float], folder: Path) -> Settings:
    """The settings of the environment, for one process with these resources (`CPU`, `GPU`).

    Args:
        resources: what the engine has given to the replica.
        folder: where the models are copied to that CIFAR10_MODELS names by an address which fsspec
            reads, such as `s3://bucket/models`.

    Raises:
        OSError: they cannot be copied.
    """
    changes: dict[str, object] = {}
    address = os.environ.get("CIFAR10_MODELS", "")
    if "://" in address:
        _copy(address, folder)
        changes["models"] = folder
    settings = Settings(workers=1)
    if settings.threads == "auto":
        changes["threads"] = max(1, int(resources.get("CPU", 1)))
    if settings.provider == "auto":
        changes["provider"] = "cuda" if resources.get("GPU") else "cpu"
    return settings.model_copy(update=changes)


async def refuse_change(_change: Change) -> str | None:
    """Refuses to load or unload a model, which would differ from those of other replicas.

    Raises:
        LoadFailedError: always.
    """
    raise LoadFailedError("Here models change in all replicas together: deploy the service again.")


class OmitRequestId:
    """Leaves the header `X-Request-ID` to Ray's proxies, which add it to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                message["headers"] = [pair for pair in headers if pair[0] != b"x-request-id"]
            await send(message)

        await self._app(scope, receive, send_without_id)


class Exporter:
    """Passes metrics to an engine's exporter, with the same names and labels.

    All become gauges: counters and histograms of engines take one observation at a time, and these
    are the sums of many. `rate` and `histogram_quantile` of Prometheus read them alike.
    """

    def __init__(self, make_gauge: Callable[..., Any]) -> None:
        """Exports nothing yet; `make_gauge` takes a name and `tag_keys`, the names of labels."""
        self._make_gauge = make_gauge
        self._gauges: dict[str, Any] = {}

    def export(self, samples: Iterable[Sample]) -> None:
        """Sets the gauges to the present values."""
        for name, labels, value in samples:
            if name not in self._gauges:
                self._gauges[name] = self._make_gauge(name, tag_keys=tuple(labels))
            self._gauges[name].set(value, dict(labels))


def _copy(address: str, folder: Path) -> None:
    # Imported late: it is a part of the extra `ray`.
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(address)
    folder.mkdir()
    # With the slash, what is in the folder, and not the folder itself.
    filesystem.get(f"{path.rstrip('/')}/", str(folder), recursive=True)

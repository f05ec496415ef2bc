"""The facts about a request that its layers share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.types import Scope

from service.inference.served_model import ServedModel
from service.observability import access_log, tracing


@dataclass(slots=True)
class RequestContext:
    """Facts of one request; the access log makes it, and writes what it holds at the end.

    Attributes:
        headers: the headers by their names in lower case; of repeated ones the first.
        request_id: id of the request, the client's own if that is acceptable.
        started_at: when the request began, on the clock of `time.perf_counter`.
        received_bytes: bytes of the body that have arrived.
        key: names the API key, None where none is known.
        model: the model that answers, once that is known.
        answered_at: when the answer was known, on the same clock.
        disconnected: whether the client has disconnected before it had its answer.
        on_disconnect: called when that happens.
        hold: counts bytes that the request keeps in memory beside those that have arrived; raises
            where they are too many.
    """

    headers: Mapping[bytes, bytes]
    request_id: str
    started_at: float
    received_bytes: int = 0
    key: str | None = None
    model: ServedModel | None = None
    answered_at: float | None = None
    disconnected: bool = False
    on_disconnect: Callable[[], None] | None = None
    hold: Callable[[int], None] = lambda _size: None

    @property
    def model_name(self) -> str:
        """Name of the model; empty where no served one is known."""
        return self.model.model if self.model else ""


def context_of(scope: Scope) -> RequestContext:
    """The context of a request."""
    context: RequestContext = scope["state"]["context"]
    return context


def note_model(scope: Scope, model: ServedModel) -> None:
    """Notes which model answers a request: for its log line, its metrics and its span."""
    context_of(scope).model = model
    tracing.name_model(model.model, model.version)


def note_key(scope: Scope, digest: bytes) -> None:
    """Notes which API key a request has, by its digest, for its log line."""
    context_of(scope).key = access_log.key_name(digest)

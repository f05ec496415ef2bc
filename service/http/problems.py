"""The one table from domain errors to problem documents (RFC 9457)."""

import http
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from service import errors
from service.admission.retry_after import DEFAULT_S, RetryAfter
from service.errors import ServiceError
from service.http import not_offered
from service.http.context import context_of
from service.http.schemas import InferenceError, Problem
from service.observability.metrics import Metrics

MEDIA_TYPE = "application/problem+json"
# Problem types are URNs: a name that clients compare, and no address that a proxy's prefix changes.
TYPE_PREFIX = "urn:cifar10-serve:problem:"
CLIENT_CLOSED_REQUEST = 499  # of nginx; HTTP has no name for it


class _Row(NamedTuple):
    status: int
    title: str


_TABLE: dict[type[ServiceError], _Row] = {
    errors.EmptyUploadError: _Row(400, "Empty upload"),
    errors.MissingFieldError: _Row(400, "Missing field"),
    errors.MalformedFormError: _Row(400, "Malformed form"),
    errors.MalformedRequestError: _Row(400, "Malformed request"),
    errors.InvalidInferenceRequestError: _Row(400, "Invalid inference request"),
    errors.UnauthorizedError: _Row(401, "Unauthorized"),
    errors.ForbiddenError: _Row(403, "Forbidden"),
    errors.NotServedError: _Row(404, "Not served"),
    errors.SlowHeadError: _Row(408, "Request timeout"),
    errors.SlowBodyError: _Row(408, "Request timeout"),
    errors.LoadFailedError: _Row(409, "Load failed"),
    errors.BodyTooLargeError: _Row(413, "Body too large"),
    errors.TooManyFilesError: _Row(413, "Too many files"),
    errors.TooManyPixelsError: _Row(413, "Too many pixels"),
    errors.UnsupportedFormatError: _Row(415, "Unsupported format"),
    errors.UnsupportedEncodingError: _Row(415, "Unsupported encoding"),
    errors.UndecodableImageError: _Row(422, "Undecodable image"),
    errors.InvalidParameterError: _Row(422, "Invalid parameter"),
    errors.RateLimitedError: _Row(429, "Too many requests"),
    errors.HeadTooLargeError: _Row(431, "Head too large"),
    errors.NotReadyError: _Row(503, "Not ready"),
    errors.QueueFullError: _Row(503, "Queue full"),
    errors.DeadlineExceededError: _Row(504, "Deadline exceeded"),
}

BY_REASON = {errors.reason(error): row for error, row in _TABLE.items()}


def document(reason: str, detail: str, request_id: str) -> Problem:
    """The document of an expected error, by its reason."""
    status, title = BY_REASON[reason]
    return Problem(
        type=f"{TYPE_PREFIX}{reason}",
        title=title,
        status=status,
        detail=detail,
        request_id=request_id,
    )


def describe(error: Exception, request_id: str) -> Problem:
    """The document of an error; that of an unexpected error gives no detail away."""
    if isinstance(error, ServiceError) and type(error) in _TABLE:
        return document(errors.reason(type(error)), str(error), request_id)
    return Problem(
        type="about:blank",
        title="Internal Server Error",
        status=500,
        detail="The service failed; report it with the request id, which is in its log.",
        request_id=request_id,
    )


def respond(problem: Problem, path: str, headers: dict[str, str] | None = None) -> Response:
    """Makes the HTTP answer of a problem document.

    Args:
        problem: the document.
        path: path of the request; the inference protocols have a shape of their own for errors.
        headers: headers of the answer.
    """
    headers = dict(headers or {})
    if problem.status == http.HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="cifar10-serve"'
    if problem.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(DEFAULT_S))
    if problem.status == http.HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    if f"{path}/".startswith(("/v2/", "/v1/")):
        error = InferenceError(error=problem.detail)
        return Response(error.model_dump_json(), problem.status, headers, "application/json")
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


class Responder:
    """Answers expected errors with problem documents, and counts them."""

    def __init__(self, metrics: Metrics, retry_after: RetryAfter) -> None:
        """Counts in the given metrics."""
        self._metrics = metrics
        self._retry_after = retry_after

    def respond(self, scope: Scope, error: ServiceError) -> Response:
        """Makes the answer to a request that failed with an error of the table."""
        context = context_of(scope)
        self._metrics.count_rejection(errors.reason(type(error)), context.model_name)
        headers = {}
        if isinstance(error, errors.QueueFullError):
            headers["Retry-After"] = str(self._retry_after.next())
        if isinstance(error, errors.RateLimitedError):
            headers["Retry-After"] = str(error.retry_after_s)
        problem = describe(error, context.request_id)
        return respond(problem, scope["path"], headers)


def install(app: FastAPI, responder: Responder) -> None:
    """Makes the app answer every expected error."""

    async def on_service_error(request: Request, error: Exception) -> Response:
        if not isinstance(error, ServiceError) or type(error) not in _TABLE:
            raise error
        return responder.respond(request.scope, error)

    async def on_invalid_parameter(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        text = f"{first['loc'][-1]}: {first['msg']}."
        return await on_service_error(request, errors.InvalidParameterError(text))

    app.exception_handler(ServiceError)(on_service_error)
    app.exception_handler(RequestValidationError)(on_invalid_parameter)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(ClientDisconnect)(_on_disconnect)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, headers = request.scope["path"], dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    details = {
        404: f"There is nothing at {path}; see /docs for what there is.",
        405: f"{path} does not answer {request.method}; see /docs for what it does.",
    }
    problem = Problem(
        type="about:blank",
        title=http.HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=not_offered.sentence(path) or details.get(error.status_code, error.detail),
        request_id=context_of(request.scope).request_id,
    )
    return respond(problem, path, headers)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    """The end of a request whose client has disconnected: only the log and the metrics read it."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)

"""The one table from domain errors to problem documents (RFC 9457)."""

import http
import re
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import errors
from service.errors import ServiceError
from service.http.schemas import InferenceError, Problem
from service.inference.model_server import ModelServer

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "1"


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


def describe(error: Exception, request_id: str) -> Problem:
    """Turns an expected error into its document, and any other into one that gives nothing away."""
    row = _TABLE.get(type(error)) if isinstance(error, ServiceError) else None
    if row is None:
        return Problem(
            type="about:blank",
            title="Internal Server Error",
            status=500,
            detail="That is our mistake; report it with the request id, which is in the log.",
            request_id=request_id,
        )
    return Problem(
        type=f"/problems/{reason(error)}",
        title=row.title,
        status=row.status,
        detail=str(error),
        request_id=request_id,
    )


def reason(error: Exception) -> str:
    """Short name of an error, such as `queue-full`: the end of its type URI."""
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def respond(problem: Problem, path: str, headers: dict[str, str] | None = None) -> Response:
    """Wraps a problem document into its HTTP answer.

    Args:
        problem: the document; the inference protocol has a shape of its own for it.
        path: path of the request.
        headers: headers of the answer.
    """
    headers = dict(headers or {})
    if problem.status == http.HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="cifar10-serve"'
    if problem.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", RETRY_AFTER_S)
    if problem.status == http.HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    if f"{path}/".startswith("/v2/"):
        error = InferenceError(error=problem.detail)
        return Response(error.model_dump_json(), problem.status, headers, "application/json")
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes the app answer every expected error with a problem document."""
    app.exception_handler(ServiceError)(on_service_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(RequestValidationError)(_on_invalid_parameter)
    app.exception_handler(ClientDisconnect)(on_disconnect)


async def on_service_error(request: Request, error: Exception) -> Response:
    """Answers an expected error with its document; any other goes on."""
    if type(error) not in _TABLE:
        raise error
    model_server: ModelServer = request.app.state.model_server
    model_server.metrics.count_rejection(reason(error))
    headers = {}
    if isinstance(error, errors.QueueFullError):
        headers["Retry-After"] = str(model_server.retry_after_s())
    if isinstance(error, errors.RateLimitedError):
        headers["Retry-After"] = str(error.retry_after_s)
    return respond(describe(error, request.state.request_id), request.url.path, headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    details = {
        404: f"There is nothing at {path}; see /docs for what there is.",
        405: f"{path} does not answer {request.method}; see /docs for what it does.",
    }
    problem = Problem(
        type="about:blank",
        title=http.HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=details.get(error.status_code, error.detail),
        request_id=request.state.request_id,
    )
    return respond(problem, path, dict(error.headers or {}))


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    text = f"{first['loc'][-1]}: {first['msg']}."
    return await on_service_error(request, errors.InvalidParameterError(text))


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """The end of a request whose client has left."""
    return Response(status_code=499)  # nobody reads it; the log and the metrics do

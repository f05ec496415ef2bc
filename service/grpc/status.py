"""The one table from domain errors to gRPC's status codes."""

from grpc import StatusCode

from service import errors
from service.errors import ServiceError

# Clients may repeat UNAVAILABLE; the others correspond to their HTTP status.
TABLE: dict[type[ServiceError], StatusCode] = {
    errors.EmptyUploadError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidInferenceRequestError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidParameterError: StatusCode.INVALID_ARGUMENT,
    errors.TooManyFilesError: StatusCode.INVALID_ARGUMENT,
    errors.TooManyPixelsError: StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedFormatError: StatusCode.INVALID_ARGUMENT,
    errors.UndecodableImageError: StatusCode.INVALID_ARGUMENT,
    errors.UnauthorizedError: StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: StatusCode.PERMISSION_DENIED,
    errors.NotServedError: StatusCode.NOT_FOUND,
    errors.LoadFailedError: StatusCode.FAILED_PRECONDITION,
    errors.BodyTooLargeError: StatusCode.RESOURCE_EXHAUSTED,
    errors.RateLimitedError: StatusCode.RESOURCE_EXHAUSTED,
    errors.NotReadyError: StatusCode.UNAVAILABLE,
    errors.QueueFullError: StatusCode.UNAVAILABLE,
    errors.SlowBodyError: StatusCode.DEADLINE_EXCEEDED,
    errors.DeadlineExceededError: StatusCode.DEADLINE_EXCEEDED,
}

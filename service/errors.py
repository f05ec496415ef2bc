"""Expected errors, with texts for the person who can fix them.

They have no status codes: each protocol has a table of its own.
"""

import functools
import re


class ServiceError(Exception):
    """Base of every expected error; its text is shown to the user."""


class EmptyUploadError(ServiceError):
    """The request carries no bytes."""


class MissingFieldError(ServiceError):
    """A multipart form lacks the field that holds the picture."""


class MalformedFormError(ServiceError):
    """A multipart body cannot be parsed."""


class MalformedRequestError(ServiceError):
    """The bytes are no HTTP request."""


class HeadTooLargeError(ServiceError):
    """The request line and its headers are over the limit."""


class SlowHeadError(ServiceError):
    """The request line and its headers take too long to arrive."""


class UnauthorizedError(ServiceError):
    """The request has no API key, or one that is not known."""


class ForbiddenError(ServiceError):
    """The request's API key does not allow this."""


class RateLimitedError(ServiceError):
    """The request's API key has sent too many requests."""

    def __init__(self, text: str, retry_after_s: int = 1) -> None:
        """Keeps when to try again."""
        super().__init__(text)
        self.retry_after_s = retry_after_s


class BodyTooLargeError(ServiceError):
    """The request body is over the limit."""


class SlowBodyError(ServiceError):
    """The request body takes too long to arrive."""


class TooManyFilesError(ServiceError):
    """A request holds more pictures than the limit."""


class TooManyPixelsError(ServiceError):
    """A picture has more pixels than the limit."""


class UnsupportedFormatError(ServiceError):
    """The bytes are no picture of an accepted format."""


class UndecodableImageError(ServiceError):
    """The format is accepted, but the picture is broken."""


class InvalidParameterError(ServiceError):
    """A parameter is out of range."""


class InvalidInferenceRequestError(ServiceError):
    """A request of the inference protocol is malformed, or its tensors do not fit the model."""


class UnsupportedEncodingError(ServiceError):
    """The request body is compressed."""


class NotServedError(ServiceError):
    """The request names a model or a version that is not served."""


class NotReadyError(ServiceError):
    """The service cannot answer yet, or no longer."""


class QueueFullError(ServiceError):
    """The limit of waiting pictures or bytes is reached."""

    def __init__(self, text: str = "Too many pictures are waiting; try again in a moment.") -> None:
        """Says what waits."""
        super().__init__(text)


class DeadlineExceededError(ServiceError):
    """The answer was not ready in time."""


class EngineFailedError(ServiceError):
    """The engine could not compute; the text is for those who run the service."""


class LoadFailedError(ServiceError):
    """A model cannot be loaded; its previous version still serves."""


class StartupError(ServiceError):
    """The service cannot start as configured."""


class ModelNotFoundError(StartupError):
    """The repository holds no such model or version."""


class ModelRefusedError(StartupError):
    """A model's files are damaged or contradict each other."""


class CudaUnavailableError(StartupError):
    """CUDA was asked for and cannot be used."""


def reason(error: type[Exception]) -> str:
    """Short name of a kind of error, such as `queue-full`."""
    return _hyphenate(error.__name__.removesuffix("Error"))


@functools.cache
def _hyphenate(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()

"""The table of problems."""

import pytest

from service import errors
from service.errors import EngineFailedError, ServiceError, StartupError
from service.http import problems


def leaves(base: type[ServiceError]) -> list[type[ServiceError]]:
    """The errors that a request may meet; the command line has one of its own."""
    children = [c for c in base.__subclasses__() if c.__module__ == errors.__name__]
    return [leaf for child in children for leaf in leaves(child)] or [base]


@pytest.mark.parametrize("error", leaves(ServiceError))
def test_every_error_has_its_status(error: type[ServiceError]) -> None:
    problem = problems.describe(error("what to do"), "id")
    if issubclass(error, StartupError | EngineFailedError):  # for those who run the service alone
        assert (problem.status, problem.type) == (500, "about:blank")
        assert "what to do" not in problem.detail
    else:
        assert 400 <= problem.status < 600
        assert problem.status != 500
        assert problem.detail == "what to do"


def test_type_is_a_urn_named_after_the_error() -> None:
    problem = problems.describe(errors.QueueFullError("wait"), "id")
    assert problem.type == "urn:cifar10-serve:problem:queue-full"
    assert problem.request_id == "id"


def test_type_of_each_error_is_its_own() -> None:
    names = [errors.reason(error) for error in leaves(ServiceError)]
    assert len(set(names)) == len(names)

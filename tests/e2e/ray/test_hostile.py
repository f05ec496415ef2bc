"""Odd and hostile pictures and requests, through a proxy of Ray."""

# ruff: noqa: F401 (pytest collects what is imported)

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.hostile import DEADLINE_MS
from tests.e2e.ray.deployed import Deployed
from tests.e2e.test_hostile_pictures import (
    client,
    test_odd_picture_is_answered,
    test_odd_pictures_do_not_spoil_a_batch,
)
from tests.e2e.test_hostile_requests import (
    BODY_TIMEOUT_S,
    test_anything_but_a_form_is_taken_as_the_picture,
    test_body_of_unknown_length_is_413_at_the_limit,
    test_body_over_the_limit_is_413_before_it_is_sent,
    test_body_over_the_limit_is_413_while_it_is_sent,
    test_bytes_of_all_bodies_together_are_bounded,
    test_dribbled_body_is_408,
    test_name_of_the_file_does_not_matter,
    test_odd_form_is_refused,
    test_odd_parameter_is_422,
    test_openapi_document_is_kept_to_by_every_route,
)

pytestmark = pytest.mark.alone  # in one process: there is one cluster for all of them


@pytest.fixture(scope="module")
def running(server: Callable[..., Deployed], tiny_models: Path) -> Iterator[Deployed]:
    with server(
        models=tiny_models,
        model="tiny",
        body_timeout_ms=int(BODY_TIMEOUT_S * 1000),
        deadline_ms=DEADLINE_MS,
        max_pending_bytes=60_000_000,
        admin_keys="root",
    ) as running:
        yield running


@pytest.fixture
def hasty(running: Deployed) -> Deployed:
    """There is one deployment for all."""
    return running

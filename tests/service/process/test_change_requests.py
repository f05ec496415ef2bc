"""What is logged of a change; `test_rollout` has the changes themselves."""

import logging

import pytest

from service.inference.served_model import LOAD_ALL, Change, Manifest
from service.process.change_requests import log
from tests.service.process.crew import served

BEFORE = Manifest((served("tiny", 1), served("other", 1)), {}, {}, frozenset(), "tiny")


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, str]]]:
    """Message and fields of each line, without those of the file."""
    hidden = {"variant", "sha256", "provider", "requested_provider"}
    return [
        (it.getMessage(), {k: v for k, v in getattr(it, "fields", {}).items() if k not in hidden})
        for it in caplog.records
    ]


def test_only_what_has_changed_is_loaded(caplog: pytest.LogCaptureFixture) -> None:
    models = (served("tiny", 1), served("other", 2))
    log(LOAD_ALL, BEFORE, BEFORE._replace(models=models, notes={"other": "It is larger."}))
    assert lines(caplog) == [
        ("loaded", {"model": "other", "version": "2", "note": "It is larger."}),
    ]


def test_change_of_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    log(Change(frozenset(["tiny"])), BEFORE, BEFORE)
    assert lines(caplog) == [("no model has changed", {})]


def test_models_that_are_unloaded_and_gone_are_told_apart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unload = Change(None, frozenset(["other"]))
    log(unload, BEFORE, BEFORE._replace(models=(), unloaded=frozenset(["other"])))
    assert lines(caplog) == [("unloaded", {"model": "other"}), ("removed", {"model": "tiny"})]


def test_failures_are_those_of_the_models_that_were_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = BEFORE._replace(failures={"tiny": "It is damaged.", "other": "It is missing."})
    failed = ("not loaded", {"model": "other", "why": "It is missing."})
    log(Change(frozenset(["other"])), BEFORE, now)
    assert lines(caplog) == [failed, ("no model has changed", {})]
    caplog.clear()
    log(LOAD_ALL, None, now)  # at the start of the service
    assert lines(caplog) == [failed, ("not loaded", {"model": "tiny", "why": "It is damaged."})]

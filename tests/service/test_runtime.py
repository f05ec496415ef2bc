"""The life of a running process."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from service.errors import QueueFullError
from tests.service.conftest import FakeEngine, colour, keep_busy, running

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., FastAPI]


async def test_pictures_that_do_not_all_fit_are_not_computed(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    async with running(make_app(max_queue=2)) as runtime:
        busy = await keep_busy(runtime, engine)
        with pytest.raises(QueueFullError):
            runtime.submit(runtime.classifier, [colour("blue")] * 3)
        engine.go.set()
        await busy
    assert engine.batches == [1]


async def test_stop_answers_what_waits_and_takes_no_more(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    async with running(make_app()) as runtime:
        waiting = runtime.submit(runtime.classifier, [colour("blue")] * 3)
    assert [(await answer).top(1)[0].label for answer in waiting] == ["blue"] * 3
    with pytest.raises(RuntimeError, match="closed"):
        runtime.submit(runtime.classifier, [colour("blue")])
    assert runtime.health().status == "draining"
    assert sum(engine.batches) == 3

"""Items that wait for an answer, and how they get it."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, eq=False)
class Item(Generic[Key, In, Out]):
    """What waits or is in work.

    Attributes:
        key: items of the same key may be processed together.
        value: what is prepared.
        future: gets the result.
        deadline: when the result must be there, on the event loop's clock.
        queued_at: since when it waits.
        context: of the `submit`.
        prepare_s: how long it took to prepare, if its batch is made afterwards.
        later: prepares it in a lane, if it waits there.
    """

    key: Key
    value: In
    future: "asyncio.Future[Out]"
    deadline: float
    queued_at: float
    context: contextvars.Context
    prepare_s: float = 0.0
    later: Callable[[], In] | None = None


def settle(answers: Mapping[Item[Key, In, Out], Out | Exception]) -> None:
    """Gives items their results or errors; call it on the event loop."""
    for item, result in answers.items():
        if item.future.done():
            continue
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)


def settle_soon(answers: Mapping[Item[Key, In, Out], Out | Exception]) -> None:
    """Like `settle`, from a thread; one wakeup of the event loop is enough for all."""
    for item in answers:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits the futures
            item.future.get_loop().call_soon_threadsafe(settle, answers)
        return

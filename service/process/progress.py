"""The state of starting workers, and of the change in progress."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from service.inference.served_model import Change, Manifest
from service.process.messages import Built, Committed, Files, NotBuilt, Outcome
from service.process.worker_pool import Member

Answer = Callable[[Outcome], None]
Reply = Built | NotBuilt | Committed


class Workers(Protocol):
    """The workers, and what starts and ends them."""

    now: float

    @property
    def ready(self) -> Sequence[Member]:
        """Those that serve."""

    def on_serving(self, worker: Member) -> None:
        """A worker begins to serve, and is one of `ready` from now on."""

    def on_not_built(self, worker: Member, reason: str, *, refused: bool) -> None:
        """A worker that starts cannot serve, and has to leave."""

    def on_change_end(self) -> None:
        """A change has ended, successful or not."""


class ServedSnapshot(NamedTuple):
    """What all workers serve, and its files."""

    manifest: Manifest
    files: Files


class Startup(NamedTuple):
    """What a worker that starts is building: the present snapshot, or one of the repository."""

    number: int
    deadline: float
    present: ServedSnapshot | None


class ChangeRequest(NamedTuple):
    """A requested change."""

    change: Change
    answer: Answer


@dataclass(eq=False)
class OngoingChange:
    """A change in progress."""

    number: int
    change: Change
    asked: list[ChangeRequest]
    deadline: float = 0
    waiting: list[Member] = field(default_factory=list)  # for their replies
    before: Manifest | None = None  # what was served, once it is committed
    built: ServedSnapshot | None = None  # by the first worker; the others follow
    committed: bool = False

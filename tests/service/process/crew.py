"""Workers without processes, a repository without files, and a clock that the test sets."""

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

from service.inference.memory_file import SealedFile
from service.inference.served_model import Change, Manifest, ServedModel
from service.process import messages
from service.process.lifecycle import Lifecycle
from service.process.messages import Files, ToSupervisor, ToWorker
from service.process.worker_pool import Member, Slot

State = Literal["starting", "running", "hung", "dead"]
Outcome = Literal["good", "refused", "failed", "other", "dead", "never"]
DRAIN_S = 2.0
STUCK_S = 30.0


class FakeWorker(Member):
    """A worker that does nothing before the test lets it."""

    def __init__(self, world: "World", now: float) -> None:
        super().__init__(heard_at=now)
        self.world = world
        self.state: State = "starting"
        self.code: int | None = None
        self.inbox: deque[ToWorker] = deque()
        self.outbox: deque[tuple[ToSupervisor, Files]] = deque()
        self.received: list[ToWorker] = []
        self.files: list[Files] = []
        self.serves: Manifest | None = None
        self.accepts: frozenset[int] = frozenset()  # of which listeners it knows that it does
        self.built: tuple[int, Manifest] | None = None
        self.told_to_stop = False
        self.fault: str | None = None

    @property
    def pid(self) -> int:
        return 1

    @property
    def is_told_to_build(self) -> bool:
        """Whether a message that has arrived is to build a snapshot."""
        return any(isinstance(message, messages.Build) for message in self.inbox)

    @property
    def is_told_to_serve(self) -> bool:
        """Whether a message that has arrived is to serve what it has built."""
        return any(isinstance(message, messages.Commit) for message in self.inbox)

    def send(self, message: ToWorker, files: Files = ()) -> None:
        self.received.append(message)
        self.files.append(files)
        self.inbox.append(message)
        if isinstance(message, messages.Done):
            self.world.on_answer(self, message)

    def kill(self) -> None:
        self.end(-9)

    def end(self, code: int) -> None:
        """Is dead, which is not known yet."""
        if self.state != "dead":
            self.state, self.code = "dead", code

    def reply(self, message: ToSupervisor, files: Files = ()) -> None:
        """Sends a message, which has not arrived yet."""
        self.outbox.append((message, files))

    def send_heartbeat(self) -> None:
        """Sends a heartbeat."""
        self.reply(messages.Heartbeat(self.fault))

    def fail(self) -> None:
        """Finds a fault that only another process can resolve."""
        self.fault = "It is stuck."
        self.send_heartbeat()

    def start(self) -> None:
        """Has started, and says so."""
        if self.state == "starting":
            self.state = "running"
            self.send_heartbeat()

    def work(self, outcome: Outcome = "good") -> None:
        """Follows the next message; builds end in this way."""
        if self.state != "running" or not self.inbox:
            return
        match self.inbox.popleft():
            case messages.Build(number, order):
                self._build(number, order, outcome)
            case messages.Listen(listeners):
                self.accepts = listeners
            case messages.Commit(number):
                assert self.built is not None, "nothing was built"
                assert self.built[0] == number, "it was not built last"
                self.serves = self.built[1]
                self.reply(messages.Committed(number))
            case messages.Drop(number):
                if self.built and self.built[0] == number:
                    self.built = None
            case messages.Stop():
                self.told_to_stop = True

    def _build(self, number: int, order: Change | Manifest, outcome: Outcome) -> None:
        self.built = None
        if outcome == "dead":
            self.end(3)
        elif outcome in ("refused", "failed"):
            self.reply(messages.NotBuilt(number, "It is damaged.", outcome == "refused"))
        elif isinstance(order, Change) and not self.world.readable:
            self.reply(messages.NotBuilt(number, "It cannot be read.", refused=True))
        elif outcome != "never":
            manifest = order if isinstance(order, Manifest) else self.world.read(order, self.serves)
            if outcome == "other" and isinstance(order, Manifest):
                manifest = manifest._replace(default="other")
            files = () if isinstance(order, Manifest) else self.world.files
            self.built = number, manifest
            self.reply(messages.Built(number, manifest), files)


class World:
    """A lifecycle, its workers, and a repository: the version of each model, None if damaged."""

    def __init__(self, size: int) -> None:
        self.real = 1000.0
        self.files: Files = (SealedFile.of(b"card"), SealedFile.of(b"model"))
        self.repository: dict[str, int | None] = {"tiny": 1, "other": 1}
        self.readable = True  # whether the repository is
        self.start_fails = False
        self.closed = 0
        self.answers: dict[tuple[FakeWorker, int], list[str | None]] = {}
        self.may_repeat = False  # whether the last change failed for a reason that passes
        self._requests = itertools.count()
        self.lifecycle = Lifecycle(size, self._start, self._close, drain_s=DRAIN_S, stuck_s=STUCK_S)
        self.advance(0)

    @property
    def workers(self) -> list[FakeWorker]:
        return [worker for worker in self.lifecycle.pool.workers if isinstance(worker, FakeWorker)]

    @property
    def serving(self) -> list[Manifest | None]:
        """What each worker serves that is told to serve."""
        return [worker.serves for worker in self.ready]

    @property
    def ready(self) -> list[FakeWorker]:
        """The workers that are told to serve."""
        return [worker for worker in self.workers if worker in self.lifecycle.ready]

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.real += seconds
        self.lifecycle.advance(self.real)

    def ask(self, worker: FakeWorker, change: Change) -> tuple[FakeWorker, int]:
        """A client asks a worker for a change."""
        number = next(self._requests)
        self.answers[worker, number] = []
        worker.reply(messages.Ask(number, change))
        return worker, number

    def on_answer(self, worker: FakeWorker, done: messages.Done) -> None:
        """Keeps an answer; after one of success nobody serves what was served before."""
        self.answers[worker, done.request].append(done.outcome.reason)
        self.may_repeat = done.outcome.transient
        if done.outcome.reason is None:
            alive = [worker for worker in self.ready if worker.state != "dead"]
            assert len(distinct([worker.serves for worker in alive if worker.serves])) <= 1

    def read(self, change: Change, before: Manifest | None) -> Manifest:
        """What the repository holds now, as a change asks."""
        present = {served.model: served for served in before.models} if before else {}
        unloaded = (before.unloaded if before else frozenset()) - (change.load or frozenset())
        unloaded |= change.unload
        failures = {
            name: why
            for name, why in (before.failures if before else {}).items()
            if change.load is not None and name not in change.load and name not in unloaded
        }
        models = []
        for name, version in self.repository.items():
            wanted = change.load is None or name in change.load
            if name in unloaded:
                continue
            if not wanted:
                models += [present[name]] if name in present else []
            elif version is None:
                failures[name] = "It is damaged."
                models += [present[name]] if name in present else []
            else:
                models.append(served(name, version))
        return Manifest(tuple(models), failures, {}, unloaded, "tiny")

    def deliver(self, worker: FakeWorker) -> None:
        """Lets the next message of a worker arrive."""
        if worker.outbox:
            message, files = worker.outbox.popleft()
            self.lifecycle.on_message(worker, message, files)

    def reap(self, worker: FakeWorker) -> None:
        """Notices that a worker is dead."""
        if worker.state == "dead":
            while worker.outbox:
                self.deliver(worker)
            self.lifecycle.on_exit(worker, worker.code)

    def step(self, outcomes: Mapping[FakeWorker, Outcome] | None = None) -> None:
        """Lets every worker start, do all that it is told to do, and report."""
        for worker in self.workers:
            worker.start()
            while worker.state == "running" and worker.inbox:
                worker.work((outcomes or {}).get(worker, "good"))
            if worker.state == "running":
                if worker.told_to_stop:
                    worker.end(0)
                else:
                    worker.send_heartbeat()
            while worker.outbox:
                self.deliver(worker)
            self.reap(worker)

    def settle(self, seconds: float) -> None:
        """Lets so much time pass without a new fault."""
        self.start_fails = False
        for _ in range(int(seconds * 2)):
            self.advance(0.5)
            self.step()

    def _start(self, _slot: Slot) -> FakeWorker:
        if self.start_fails:
            raise OSError(12, "Cannot allocate memory")
        return FakeWorker(self, self.lifecycle.now)

    def _close(self) -> None:
        self.closed += 1


def served(name: str, version: int) -> ServedModel:
    """A version of a model on the CPU."""
    return ServedModel(name, str(version), "model.onnx", str(version) * 64, "CPU", "CPU")


def distinct(manifests: Sequence[Manifest | None]) -> list[Manifest | None]:
    """Those that are not equal to one before."""
    found: list[Manifest | None] = []
    for manifest in manifests:
        if manifest not in found:
            found.append(manifest)
    return found

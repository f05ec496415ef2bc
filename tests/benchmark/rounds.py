"""One round: everything is measured once, each server started anew."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from tests.benchmark.contestants import (
    PEERS,
    Stage,
    constant_answer,
    peer_server,
    service,
    service_in_full,
    service_of_one_view,
)
from tests.benchmark.load import (
    AT_16,
    AT_64,
    AT_256,
    BATCH,
    LARGE,
    LONE,
    MEDIUM,
    RAW,
    Case,
    Load,
    Wrk,
)
from tests.benchmark.overload import TIMES, connections_of_full_queues
from tests.benchmark.servers import Server

SERVICE_CASES = (LONE, AT_16, AT_64, AT_256, RAW, BATCH, MEDIUM, LARGE)


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do without HTTP; see `ceilings.py`.

    Attributes:
        compute: pictures decoded, resized and classified a second, by batch size.
        onnx_runtime: pictures classified a second, by batch size.
        lone_ms: milliseconds for a lone picture, decoded, resized and classified.
    """

    compute: dict[str, float]
    onnx_runtime: dict[str, float]
    lone_ms: float


@dataclass(frozen=True)
class Round:
    """What one round has measured.

    Attributes:
        ceilings: what the machine can do without HTTP.
        loads: what wrk saw, by server and case.
        start_s: seconds from the start of each server to its first answer.
        worker_mb: the most memory that one process of the service has had, without overload.
        kept: the part of the peak that the service keeps at five times what fills its queues.
    """

    ceilings: Ceilings
    loads: dict[str, dict[str, Load]]
    start_s: dict[str, float]
    worker_mb: float
    kept: float


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: how often.
        seconds: length of each measurement.
        warm_up_s: how long each server is warmed up before.
        overload_s: how long the overload lasts.
        limit_s: no round begins that would end later.
    """

    rounds: int
    seconds: int
    warm_up_s: int
    overload_s: int
    limit_s: float


class Rounds:
    """Runs rounds; a peer that has failed once is left out from then on."""

    def __init__(self, stage: Stage, wrk: Wrk, pythons: Mapping[str, Path], plan: Plan) -> None:
        """Takes what each round needs.

        Args:
            stage: what all servers have in common.
            wrk: the load generator.
            pythons: the Python of each peer that takes part, by its name.
            plan: how much is measured.
        """
        self._stage = stage
        self._wrk = wrk
        self._pythons = dict(pythons)
        self._plan = plan
        self.failures: dict[str, str] = {}

    def run(self) -> Round:
        """Measures everything once.

        Raises:
            StartError: the service cannot be started.
            RuntimeError: the service or a ceiling cannot be measured.
        """
        loads: dict[str, dict[str, Load]] = {}
        start_s: dict[str, float] = {}

        def measure(server: Server, cases: Iterable[Case]) -> None:
            self._wrk.run(server, AT_64, self._plan.warm_up_s)
            loads[server.name] = {
                c.name: self._wrk.run(server, c, self._plan.seconds) for c in cases
            }
            start_s[server.name] = server.start_s

        ceilings = self._ceilings()
        with constant_answer(self._stage) as server:
            measure(server, (LONE, AT_64, RAW))
        with service_of_one_view(self._stage) as server:
            measure(server, SERVICE_CASES)
            worker_mb = server.largest_process_mb()
            kept = self._kept(server)
        with service(self._stage) as server:
            measure(server, (AT_64, MEDIUM))
        with service_in_full(self._stage) as server:
            measure(server, (MEDIUM, LARGE))
        for peer in PEERS:
            if peer.name in self._pythons and peer.name not in self.failures:
                try:
                    with peer_server(self._stage, peer, self._pythons[peer.name]) as server:
                        measure(server, (AT_64,))
                except Exception as error:  # whatever a peer does, the rest goes on
                    self.failures[peer.name] = str(error)
        return Round(ceilings, loads, start_s, worker_mb, kept)

    def _kept(self, server: Server) -> float:
        """The part of the peak that the service keeps; the peak is measured before and after."""

        def answers_per_s(case: Case, seconds: int, *, late: bool) -> float:
            return self._wrk.answers(server, case, seconds, late=late).per_s(200)

        crowd = replace(MEDIUM, connections=TIMES * connections_of_full_queues())
        before = answers_per_s(MEDIUM, self._plan.seconds, late=False)
        during = answers_per_s(crowd, self._plan.overload_s, late=True)
        after = answers_per_s(MEDIUM, self._plan.seconds, late=False)
        return during / mean((before, after))

    def _ceilings(self) -> Ceilings:
        command = (self._stage.python, "-m", "tests.benchmark.ceilings")
        done = subprocess.run(
            # These vary little: half the time is enough.
            [*map(str, command), str(self._stage.model), str(self._plan.seconds / 2)],
            capture_output=True,
            text=True,
            timeout=10 * self._plan.seconds + 60,
        )
        if done.returncode:
            raise RuntimeError(f"the ceilings cannot be measured: {done.stderr.strip()}")
        return Ceilings(**json.loads(done.stdout))

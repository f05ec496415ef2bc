"""Which rule of autoscaling suits the service: a simulated day with a tenfold peak in a minute.

    .venv-dev/bin/python -m tests.benchmark.autoscaling [chart.png]

Rules decide as Kubernetes' HorizontalPodAutoscaler does, which KEDA feeds with metrics of
Prometheus. Prints a table, and draws what some of them do at the peak.
"""

import math
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import simpy
from matplotlib.figure import Figure

from tests.benchmark.fleet import STEP_S, Fleet, Instance, Numbers, Process, Seen

# Measured: an answer on an idle machine (README.md beside this file), a refusal by footprint.py.
MEASURED = Instance(cores=2, answer_s=0.00094, refusal_s=0.00012, queue=512, start_s=10)
# Seconds until a new instance answers: on a machine with room for it, and on one that starts first.
STARTS_S = (10, 90)

SYNC_S = 15  # between two decisions
TOLERANCE = 0.1
ALWAYS_UP = 4  # so many instances may be added in any decision
HOLD_S = 300  # nothing is removed that was wanted within this time
MOST = 100

PEAK_AT_S = 20 * 3600
RISE_S, PEAK_S, FALL_S = 60, 1200, 300
PEAK = 10


@dataclass(frozen=True)
class Metric:
    """What a rule looks at.

    Attributes:
        of: what it adds up over all instances: `used_s` or `asked` a second, or `waiting`.
        target: how much of it one instance shall have.
        window_s: it is the mean over so long.
        age_s: how old it is when the rule sees it.
    """

    of: str
    target: float
    window_s: float
    age_s: float

    def total(self, fleet: Fleet) -> float:
        """Its value as the rule sees it now."""
        end = max(fleet.step - round(self.age_s / STEP_S), 1)
        start = max(end - round(self.window_s / STEP_S), 0)
        mean = float(getattr(fleet.seen, self.of)[start:end].mean())
        return mean if self.of == "waiting" else mean / STEP_S


def cpu(share: float) -> Metric:
    """Processor time; the metrics server samples it every 15 s."""
    return Metric("used_s", share * MEASURED.cores, window_s=15, age_s=15)


def requests(share: float) -> Metric:
    """Requests a second, refused ones too, as a share of what an instance can answer."""
    return Metric("asked", share * MEASURED.per_s, window_s=60, age_s=15)


def queue(depth: float) -> Metric:
    """Requests that wait; Prometheus looks every 15 s."""
    return Metric("waiting", depth, window_s=STEP_S, age_s=15)


@dataclass(frozen=True)
class Rule:
    """How many instances there are.

    Attributes:
        name: what it is called.
        metrics: what it looks at; the one that wants most decides. None of them: it never changes.
        growth: how many times as many instances a decision may make.
        least: the fewest that there are.
    """

    name: str
    metrics: tuple[Metric, ...] = ()
    growth: float = 2.0
    least: int = 2


RULES = (
    Rule("always 28", least=28),
    *(Rule(f"CPU {share:.0%}", (cpu(share),)) for share in (0.8, 0.7, 0.6, 0.5, 0.4)),
    Rule("CPU 50%, up to 5x", (cpu(0.5),), growth=5),
    Rule("queue 64", (queue(64),)),
    *(Rule(f"requests {share:.0%}", (requests(share),)) for share in (0.8, 0.6, 0.4)),
    Rule("requests 60% or queue 64, up to 5x", (requests(0.6), queue(64)), growth=5),
    *(Rule(f"CPU 70% or queue {depth}", (cpu(0.7), queue(depth))) for depth in (64, 256)),
    *(
        Rule(f"CPU {share:.0%} or queue 64, up to 5x", (cpu(share), queue(64)), growth=5)
        for share in (0.8, 0.7, 0.6, 0.5)
    ),
)
SHOWN = ("CPU 80%", "CPU 50%", "requests 60%", "CPU 70% or queue 64, up to 5x")
# Those of docker/kubernetes/components: the best of all, and the best that needs no Prometheus.
WITH_QUEUE = Rule("CPU 70% or queue 64, up to 5x", (cpu(0.7), queue(64)), growth=5)
WITHOUT_QUEUE = Rule("CPU 50%", (cpu(0.5),))


@dataclass(frozen=True)
class Result:
    """What a day was like.

    Attributes:
        late: share of requests that were answered after more than a second.
        lost: share of requests that were refused twice.
        hours: instance-hours.
        most: the most instances at a time.
    """

    late: float
    lost: float
    hours: float
    most: int

    @classmethod
    def of(cls, seen: Seen, load: Numbers) -> "Result":
        """Adds up what was seen."""
        total = load.sum()
        hours = seen.size.sum() * STEP_S / 3600
        most = int(seen.size.max())
        return cls(seen.late.sum() / total, seen.lost.sum() / total, float(hours), most)


def day() -> Numbers:
    """Requests of new clients in each step of a day: Poisson, about a rate that changes.

    It is 2,000 a second at 3 in the morning and 6,000 at 3 in the afternoon; at 20 h it becomes ten
    times as high within a minute, for 20 minutes.
    """
    times = np.arange(0, 86_400, STEP_S)
    usual = 4000 + 2000 * np.sin(2 * np.pi * (times / 3600 - 9) / 24)
    ends = np.cumsum([PEAK_AT_S, RISE_S, PEAK_S, FALL_S])
    rate = usual * np.interp(times, ends, [1, PEAK, PEAK, 1])
    load: Numbers = np.random.default_rng(0).poisson(rate * STEP_S).astype(np.float64)
    return load


def simulate(rule: Rule, instance: Instance, load: Numbers) -> Seen:
    """Runs a fleet under a load and a rule to its end."""
    env = simpy.Environment()
    fleet = Fleet(env, instance, load, rule.least)
    if rule.metrics:
        env.process(decide(env, fleet, rule))
    env.run(len(load) * STEP_S)
    return fleet.seen


def decide(env: simpy.Environment, fleet: Fleet, rule: Rule) -> Process:
    """Decides every 15 s, as Kubernetes does."""
    wishes: deque[int] = deque(maxlen=HOLD_S // SYNC_S)
    while True:
        yield env.timeout(SYNC_S)
        wishes.append(max(wanted(metric, fleet) for metric in rule.metrics))
        most = max(fleet.size + ALWAYS_UP, math.floor(fleet.size * rule.growth))
        up = min(wishes[-1], most, MOST)
        down = max(*wishes, rule.least)
        fleet.resize(max(up, rule.least) if up > fleet.size else min(down, fleet.size))


def wanted(metric: Metric, fleet: Fleet) -> int:
    """How many instances a metric wants; a small difference changes nothing."""
    total = metric.total(fleet)
    if abs(total / (metric.target * fleet.size) - 1) <= TOLERANCE:
        return fleet.size
    return math.ceil(total / metric.target)


def chart(days: dict[str, Seen], load: Numbers) -> Figure:
    """What some rules do at the peak: what they can answer, and what is refused."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    able, refused = figure.subplots(2, 1, sharex=True)
    start, end = (round((PEAK_AT_S + seconds) / STEP_S) for seconds in (-60, 480))
    minutes = (np.arange(start, end, 10) * STEP_S - PEAK_AT_S) / 60
    able.fill_between(minutes, _per_s(load[start:end]), color="lightgrey", label="new requests")
    for name, seen in days.items():
        able.plot(minutes, seen.ready[start:end:10] * MEASURED.per_s, label=name)
        refused.plot(minutes, _per_s(seen.refused[start:end]), label=name)
    able.set_ylabel("can be answered, requests/s")
    able.set_ylim(0, 1.6 * load[start:end].max() / STEP_S)
    able.legend(loc="lower right", fontsize="small", framealpha=1)
    refused.set_ylabel("refused, requests/s")
    refused.set_xlabel("minutes since the load began to rise")
    return figure


def _per_s(requests: Numbers) -> Numbers:
    """The rate in each whole second."""
    rates: Numbers = requests.reshape(-1, round(1 / STEP_S)).sum(axis=1)
    return rates


def main(arguments: Sequence[str]) -> None:
    """Simulates every rule and prints what came of it; draws a chart if a file is named."""
    load, rows, shown = day(), {}, {}
    for start_s in STARTS_S:
        instance = replace(MEASURED, start_s=start_s)
        for rule in RULES:
            seen = simulate(rule, instance, load)
            result = Result.of(seen, load)
            rows[f"start {start_s} s", rule.name] = {
                "lost": f"{result.lost:.2%}",
                "over 1 s": f"{result.late:.2%}",
                "instance-hours": f"{result.hours:.0f}",
                "most": result.most,
            }
            if start_s == STARTS_S[0] and rule.name in SHOWN:
                shown[rule.name] = seen
    print(pd.DataFrame.from_dict(rows, orient="index").to_string())
    for path in map(Path, arguments):
        chart(shown, load).savefig(path, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1:])

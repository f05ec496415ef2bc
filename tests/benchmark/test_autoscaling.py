"""The simulation of a fleet adds up, and its rules decide as Kubernetes does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simpy
import yaml

from tests.benchmark import autoscaling
from tests.benchmark.autoscaling import (
    ALWAYS_UP,
    HOLD_S,
    RULES,
    SYNC_S,
    WITH_QUEUE,
    WITHOUT_QUEUE,
    Metric,
    Result,
    Rule,
    chart,
    cpu,
    day,
    queue,
    simulate,
    wanted,
)
from tests.benchmark.environments import ROOT
from tests.benchmark.fleet import STEP_S, Fleet, Instance, Numbers, Process, Seen

COMPONENTS = ROOT / "docker" / "kubernetes" / "components"
# Answers 1,000 a second.
ONE = Instance(cores=2, answer_s=0.002, refusal_s=0.0002, queue=500, start_s=10)
ASKED = Metric("asked", target=500, window_s=15, age_s=0)


def steady(per_s: float, seconds: int) -> Numbers:
    return np.full(round(seconds / STEP_S), per_s * STEP_S)


def always(count: int) -> Rule:
    return Rule("always", least=count)


def test_enough_instances_refuse_nothing_and_use_what_answers_take() -> None:
    load = steady(1800, 60)
    seen = simulate(always(2), ONE, load)
    assert seen.refused.sum() == seen.late.sum() == 0
    assert seen.used_s.sum() == pytest.approx(load.sum() * ONE.answer_s)


def test_every_request_is_answered_lost_waiting_or_told_to_come_again() -> None:
    load = np.concatenate([steady(4000, 20), steady(0, 120)])
    seen = simulate(always(1), ONE, load)
    answered = (seen.asked - seen.refused).sum()
    assert answered + seen.lost.sum() == pytest.approx(load.sum())
    assert seen.waiting[-1] == 0


def test_refusals_take_the_processor_from_answers() -> None:
    load = steady(4000, 20)
    dear, free = (simulate(always(1), replace(ONE, refusal_s=cost), load) for cost in (0.0002, 0.0))
    assert dear.refused.sum() > free.refused.sum()
    assert dear.used_s.max() == pytest.approx(ONE.cores * STEP_S)


def test_refused_clients_come_again_spread_over_time() -> None:
    load = np.concatenate([steady(3000, 5), steady(0, 95)])
    seen = simulate(always(1), ONE, load)
    again = seen.asked - load
    assert again[: round(1 / STEP_S)].sum() == 0
    # No more than half as many as can be answered.
    assert again[: round(50 / STEP_S)].max() <= 0.5 * ONE.per_s * STEP_S + 1e-9
    assert again.sum() == pytest.approx((seen.refused - seen.lost).sum())


def test_answer_is_late_when_the_queue_takes_over_a_second() -> None:
    load = steady(1100, 60)
    patient = replace(ONE, queue=2000)
    assert simulate(always(1), ONE, load).late.sum() < simulate(always(1), patient, load).late.sum()


@pytest.mark.parametrize(
    ("asked", "size", "expected"),
    [
        (1000, 2, 2),
        (1090, 2, 2),  # within the tolerance
        (1110, 2, 3),
        (5000, 2, 10),
        (400, 2, 1),
    ],
)
def test_rule_wants_what_the_formula_of_kubernetes_gives(
    asked: float, size: int, expected: int
) -> None:
    env = simpy.Environment()
    fleet = Fleet(env, replace(ONE, queue=1_000_000), steady(asked, 20), size)
    env.run(20)
    assert wanted(ASKED, fleet) == expected


def test_metric_is_seen_late_and_as_a_mean() -> None:
    env = simpy.Environment()
    fleet = Fleet(env, ONE, np.concatenate([steady(100, 30), steady(300, 30)]), 1)
    metric = replace(ASKED, window_s=20, age_s=10)
    env.run(50)
    assert metric.total(fleet) == pytest.approx(200)
    env.run(60)
    assert metric.total(fleet) == pytest.approx(300)


def test_instances_are_added_no_faster_than_allowed_and_answer_after_their_start() -> None:
    load = steady(40_000, 60)
    for growth, sizes in ((2.0, [2, 6, 12]), (5.0, [2, 10, 50])):
        seen = simulate(Rule("grows", (ASKED,), growth=growth), ONE, load)
        at = [round((15 * decisions + 5) / STEP_S) for decisions in range(3)]
        assert [seen.size[step] for step in at] == sizes
        # Those of the first decision are ready, and those of the second are not.
        assert seen.ready[round(29 / STEP_S)] == sizes[1]
        assert seen.ready[round(39 / STEP_S)] == sizes[1]


def test_instances_are_removed_when_none_of_the_last_minutes_wanted_them() -> None:
    load = np.concatenate([steady(5000, 60), steady(100, 2 * HOLD_S)])
    seen = simulate(Rule("shrinks", (ASKED,), growth=9), ONE, load)
    at_peak = seen.size.max()
    assert seen.size[round((60 + HOLD_S - 15) / STEP_S)] == at_peak
    assert seen.size[-1] == 2


def test_rule_of_two_metrics_follows_the_one_that_wants_more() -> None:
    never = replace(ASKED, target=1e9)
    load = steady(2000, 120)
    both = simulate(Rule("both", (never, ASKED)), ONE, load)
    alone = simulate(Rule("one", (ASKED,)), ONE, load)
    assert both.size.tolist() == alone.size.tolist()


def test_result_is_shares_of_all_requests_and_hours_of_all_instances() -> None:
    load = steady(500, 3600)
    result = Result.of(simulate(always(3), ONE, load), load)
    assert (result.late, result.lost, result.most) == (0, 0, 3)
    assert result.hours == pytest.approx(3)


def test_day_has_a_tenfold_peak_within_a_minute() -> None:
    load = day()
    at = [round(seconds / STEP_S) for seconds in (autoscaling.PEAK_AT_S, 20 * 3600 + 60)]
    before, after = load[at[0] - 600 : at[0]].mean(), load[at[1] : at[1] + 600].mean()
    assert after / before == pytest.approx(10, rel=0.02)
    assert day().tolist() == load.tolist()


def test_steps_agree_with_a_simulation_of_each_request() -> None:
    small = replace(ONE, queue=50, refusal_s=0.0)
    for per_s in (800, 1500, 3000):
        load = np.random.default_rng(0).poisson(per_s * STEP_S, 10).astype(np.float64)
        refused = simulate(always(1), small, load).refused.sum() / load.sum()
        assert refused == pytest.approx(refused_one_by_one(small, load), abs=0.03)


def refused_one_by_one(one: Instance, load: Numbers) -> float:
    """The share of requests that find the queue full, when each is simulated by itself."""
    env = simpy.Environment()
    cores = simpy.Resource(env, one.cores)
    refused = 0

    def request() -> Process:
        with cores.request() as core:
            yield core
            yield env.timeout(one.answer_s)

    def clients() -> Process:
        nonlocal refused
        for count in load.astype(int):
            for _ in range(count):
                if len(cores.queue) < one.queue:
                    env.process(request())
                else:
                    refused += 1
                yield env.timeout(STEP_S / count)

    env.process(clients())
    env.run()
    return refused / float(load.sum())


def test_chart_shows_each_rule() -> None:
    load = day()
    able = chart({"a rule": Seen.nothing(len(load))}, load).axes[0]
    assert able.get_legend_handles_labels()[1] == ["new requests", "a rule"]


def test_rules_that_ship_are_those_that_did_best() -> None:
    (scaler,) = yaml.safe_load_all(
        (COMPONENTS / "autoscaling-queue/scaled-object.yaml").read_text()
    )
    waiting, busy = scaler["spec"]["triggers"]
    assert float(waiting["metadata"]["threshold"]) == queue(64).target
    share = float(busy["metadata"]["value"]) / 100
    assert Rule(WITH_QUEUE.name, (cpu(share), queue(64)), growth=5) == WITH_QUEUE
    advanced = scaler["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    assert growth(advanced["behavior"]) == WITH_QUEUE.growth

    (autoscaler,) = yaml.safe_load_all((COMPONENTS / "autoscaling-cpu/autoscaler.yaml").read_text())
    (metric,) = autoscaler["spec"]["metrics"]
    share = metric["resource"]["target"]["averageUtilization"] / 100
    assert Rule(WITHOUT_QUEUE.name, (cpu(share),)) == WITHOUT_QUEUE
    assert growth(autoscaler["spec"]["behavior"]) == WITHOUT_QUEUE.growth
    assert {WITH_QUEUE, WITHOUT_QUEUE} <= set(RULES)


def growth(behavior: dict[str, Any]) -> float:
    """How many times as many pods one decision may make; the rest is as simulated."""
    percent, pods = behavior["scaleUp"]["policies"]
    assert percent["periodSeconds"] == pods["periodSeconds"] == SYNC_S
    assert pods["value"] == ALWAYS_UP
    assert behavior["scaleUp"]["selectPolicy"] == "Max"
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == HOLD_S
    return float(percent["value"]) / 100 + 1

"""How the rate of a bare session is measured."""

from tests.benchmark.gpu.parts.session import per_s


def test_rate_is_of_at_least_one_run_of_each_thread() -> None:
    runs: list[None] = []
    assert per_s(lambda: runs.append(None), 0, threads=2) > 0
    assert len(runs) == 2

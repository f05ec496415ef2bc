"""Refused clients return one after another."""

from collections.abc import Callable

from service.admission.retry_after import MAX_WAIT_S, RETURNS_PER_ANSWER, RetryAfter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pace(seconds_per_answer: float) -> Callable[[], float]:
    return lambda: seconds_per_answer


def test_lone_client_returns_after_a_second() -> None:
    clock = Clock()
    retry_after = RetryAfter(pace(0.01), clock)
    assert retry_after.next() == 1
    clock.now += 1
    assert retry_after.next() == 1


def test_crowd_is_spread_by_the_pace_of_the_answers() -> None:
    retry_after = RetryAfter(pace(0.01), Clock())
    waits = [retry_after.next() for _ in range(200)]
    assert waits == sorted(waits)
    # 100 answers a second, and a part of that in returns.
    per_second = [waits.count(second) for second in range(2, waits[-1])]
    assert all(abs(count - 100 * RETURNS_PER_ANSWER) <= 1 for count in per_second)
    assert waits[-1] == 5


def test_wait_is_bounded_and_ends() -> None:
    clock = Clock()
    paces = [0.01, *[10.0] * 100]
    retry_after = RetryAfter(lambda: paces.pop(), clock)
    assert [retry_after.next() for _ in range(100)][-1] == MAX_WAIT_S
    clock.now += MAX_WAIT_S + 1
    assert retry_after.next() == 1


def test_unknown_pace_makes_no_client_wait() -> None:
    retry_after = RetryAfter(pace(0), Clock())
    assert {retry_after.next() for _ in range(1000)} == {1}

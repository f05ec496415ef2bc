"""Refused clients come again one after another."""

from service.http.retry_after import MAX_WAIT_S, RETURNS_PER_ANSWER, RetryAfter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lone_client_comes_again_after_a_second() -> None:
    clock = Clock()
    retry_after = RetryAfter(clock)
    assert retry_after.make(0.01) == 1
    clock.now += 1
    assert retry_after.make(0.01) == 1


def test_crowd_is_spread_out_by_the_pace_of_the_answers() -> None:
    retry_after = RetryAfter(Clock())
    waits = [retry_after.make(seconds_per_answer=0.01) for _ in range(200)]
    assert waits == sorted(waits)
    # 100 answers a second, and a part of that in returns.
    per_second = [waits.count(second) for second in range(2, waits[-1])]
    assert all(abs(count - 100 * RETURNS_PER_ANSWER) <= 1 for count in per_second)
    assert waits[-1] == 5


def test_nobody_is_sent_away_for_long_and_the_row_clears() -> None:
    clock = Clock()
    retry_after = RetryAfter(clock)
    assert [retry_after.make(10) for _ in range(100)][-1] == MAX_WAIT_S
    clock.now += MAX_WAIT_S + 1
    assert retry_after.make(0.01) == 1


def test_pace_that_is_not_known_yet_keeps_nobody_away() -> None:
    retry_after = RetryAfter(Clock())
    assert {retry_after.make(0) for _ in range(1000)} == {1}

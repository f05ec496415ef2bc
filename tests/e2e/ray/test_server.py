"""What the service answers, through a proxy of Ray."""

# ruff: noqa: F401 (pytest collects what is imported)

import pytest

from tests.e2e.test_server import (
    client,
    test_batch_answers_every_file_in_order,
    test_body_over_the_limit_is_refused_before_it_is_sent,
    test_every_guise_gives_the_answer_of_the_rgb_picture,
    test_health_and_metrics_answer,
    test_problem_is_told_over_tcp,
    test_raw_body_and_form_give_the_same_answer,
)

pytestmark = pytest.mark.alone  # in one process: there is one cluster for all of them

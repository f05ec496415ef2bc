"""What nobody waits for is not computed, though Ray's proxy stands between."""

# ruff: noqa: F401 (pytest collects what is imported)

import pytest

from tests.e2e.test_disconnects import (
    running,
    test_picture_of_a_client_who_has_left_is_not_computed,
    test_picture_whose_time_is_over_is_504_and_not_computed,
)

pytestmark = pytest.mark.alone  # in one process: there is one cluster for all of them

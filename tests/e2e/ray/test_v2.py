"""The Open Inference Protocol by a client of its own ecosystem, through a proxy of Ray."""

import pytest

from tests.e2e.test_v2 import *  # noqa: F403 (pytest collects what is imported)

pytestmark = pytest.mark.alone  # in one process: there is one cluster for all of them

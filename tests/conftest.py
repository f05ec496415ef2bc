"""The order of all tests, their processes, and what is spent before the first."""

import gc
from collections.abc import Generator

import pytest

from service.hardware import available_cpus


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all tests without garbage collection, which would take a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # modules are never freed
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than processors, as many tests wait: for a server, a browser, a deadline."""
    return available_cpus() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests, so that no processor waits for one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

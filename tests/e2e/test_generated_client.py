"""A client that others' tools make of our OpenAPI document."""

from collections.abc import Callable

from tests.clients import generated
from tests.e2e.conftest import Server


def test_generated_client_is_complete_and_works(server: Callable[..., Server]) -> None:
    with server() as running:
        generated.main(running.url)

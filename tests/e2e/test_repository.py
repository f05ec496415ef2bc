"""Triton's own client, unmodified, administers the models of a service with two workers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from tests.e2e.conftest import Server
from tests.service.models import write_model

KEY = {"X-API-Key": "secret"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of the test's own, with version 1 of the tiny model."""
    write_model(tmp_path)
    return tmp_path


@pytest.fixture
def client(server: Callable[..., Server], models: Path) -> Iterator[InferenceServerClient]:
    with server(models=models, model="tiny", workers=2, admin_keys="secret") as running:
        client = InferenceServerClient(
            running.url.removeprefix("http://"), network_timeout=60, concurrency=8
        )
        yield client
        client.close()


def served(client: InferenceServerClient) -> list[str]:
    versions: list[str] = client.get_model_metadata("tiny")["versions"]
    return versions


def test_client_lists_loads_and_unloads(client: InferenceServerClient, models: Path) -> None:
    write_model(models, version=2)
    index = client.get_model_repository_index(headers=KEY)
    assert [(entry["version"], entry["state"]) for entry in index] == [
        ("1", "READY"),
        ("2", "UNAVAILABLE"),
    ]
    client.load_model("tiny", headers=KEY)
    assert served(client) == ["2"]
    client.unload_model("tiny", headers=KEY)
    assert not client.is_server_ready()
    assert client.is_server_live()
    client.load_model("tiny", headers=KEY)
    assert client.is_model_ready("tiny", "2")


def test_after_load_no_pooled_connection_meets_the_model_of_before(
    client: InferenceServerClient, models: Path
) -> None:
    """Eight connections, which stay open from one change to the next.

    An answer whose rest has not arrived keeps its connection until it is asked for: one is left for
    the change.
    """
    image = InferInput("image", [1, 8, 8, 3], "UINT8")
    image.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.uint8))
    for version in range(2, 22):
        write_model(models, version=version)
        sent = [client.async_infer("tiny", [image]) for _ in range(7)]
        client.load_model("tiny", headers=KEY)
        sent_later = [client.async_infer("tiny", [image]) for _ in range(24)]
        before = {answer.get_result().get_response()["model_version"] for answer in sent}
        after = {answer.get_result().get_response()["model_version"] for answer in sent_later}
        assert before <= {str(version - 1), str(version)}
        assert after == {str(version)}


def test_client_is_told_why_a_version_is_not_loaded(
    client: InferenceServerClient, models: Path
) -> None:
    (write_model(models, version=2) / "card.json").unlink()
    with pytest.raises(InferenceServerException, match="cannot be read"):
        client.load_model("tiny", headers=KEY)
    assert served(client) == ["1"]


def test_client_without_the_key_changes_nothing(client: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="API key"):
        client.unload_model("tiny")
    assert served(client) == ["1"]

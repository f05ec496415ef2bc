"""GET /card: the card of the model that answers."""

import json
from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from tests.service.models import write_model


def test_card_is_that_of_the_model_that_answers(
    make_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    written = [write_model(tmp_path, version=version) / "card.json" for version in (1, 2)]
    response = make_client(models=tmp_path).get("/card")  # of a fake engine, version 1
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads(written[0].read_text())


def test_card_that_is_gone_is_404(make_client: Callable[..., TestClient], tmp_path: Path) -> None:
    response = make_client(models=tmp_path).get("/card")
    assert response.status_code == 404
    assert response.json()["detail"] == "The card of 'tiny', version 1, is gone."


def test_card_needs_a_key_where_there_are_keys(
    make_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    write_model(tmp_path)
    client = make_client(models=tmp_path, api_keys="a-long-enough-key")
    assert client.get("/card").status_code == 401
    headers = {"Authorization": "Bearer a-long-enough-key"}
    assert client.get("/card", headers=headers).status_code == 200

"""GET /card: the card of the model that answers."""

import json
from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.settings import Settings
from tests.service.models import write_model


def test_card_is_that_of_the_model_that_answers_even_if_its_folder_is_gone(tmp_path: Path) -> None:
    card = write_model(tmp_path) / "card.json"
    written = json.loads(card.read_text())
    settings = Settings.model_validate({"models": tmp_path, "provider": "cpu"})
    with TestClient(create_app(settings, ModelServer(settings))) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        card.unlink()
        response = client.get("/card")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == written


def test_card_needs_a_key_where_there_are_keys(make_client: Callable[..., TestClient]) -> None:
    client = make_client(api_keys="a-long-enough-key")
    assert client.get("/card").status_code == 401
    headers = {"Authorization": "Bearer a-long-enough-key"}
    assert client.get("/card", headers=headers).status_code == 200

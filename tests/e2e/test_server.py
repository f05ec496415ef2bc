"""The server in its own process, over TCP."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import Server

CAT = Path("tests/data/cat.jpg").read_bytes()


@pytest.fixture(scope="module")
def url(server: Callable[..., Server], tiny_models: Path) -> Iterator[str]:
    with server(models=tiny_models, model="tiny") as running:
        yield running.url


def test_raw_body_and_form_give_the_same_answer(url: str) -> None:
    raw = httpx2.post(f"{url}/predict", content=CAT)
    form = httpx2.post(f"{url}/predict", files={"file": ("cat.jpg", CAT)})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json()
    assert raw.json()["image"] == {"width": 451, "height": 300, "format": "JPEG"}

"""Label sets: what /predict, /predict/batch and the command line say of them."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.cli import main as cli
from service.errors import ModelRefusedError
from service.http.app import create_app
from service.inference.classifier import Classifier
from service.inference.model_server import ModelServer
from service.settings import Settings
from tests.service.conftest import colour
from tests.service.models import write_model

# A colour of its own has a probability of 0.965 and the others 0.018, black has a third for each.
SETS = {"0.9": [0.97, 0.97, 0.97], "0.95": [0.9, 0.9, 0.01]}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_model(tmp_path, label_sets=SETS)
    return tmp_path


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    settings = Settings.model_validate({"models": models, "model": "tiny", "provider": "cpu"})
    with TestClient(create_app(settings, ModelServer(settings))) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        yield client


@pytest.mark.parametrize(
    ("name", "coverage", "expected"),
    [
        ("red", 0.95, ["red", "blue"]),
        ("blue", 0.95, ["blue"]),
        ("black", 0.95, ["blue"]),
        ("red", 0.9, []),
    ],
)
def test_classes_that_reach_their_threshold_come_best_first(
    client: TestClient, name: str, coverage: float, expected: list[str]
) -> None:
    query = {"coverage": coverage, "top_k": 1}
    answer = client.post("/predict", content=colour(name), params=query).json()
    assert answer["label_set"] == expected
    assert len(answer["predictions"]) == 1
    files = [("files", colour(name)), ("files", b"none")]
    batch = client.post("/predict/batch", files=files, params=query).json()["results"]
    assert batch[0]["label_set"] == expected
    assert set(batch[1]) == {"error"}


def test_set_is_there_only_where_it_was_asked_for(client: TestClient) -> None:
    assert "label_set" not in client.post("/predict", content=colour("red")).json()


@pytest.mark.parametrize(
    ("coverage", "detail"),
    [
        ("0.99", "coverage: the model has label sets for 0.9, 0.95."),
        ("1", "coverage: Input should be less than 1."),
        ("most", "coverage: Input should be a valid number"),
    ],
)
def test_other_coverage_is_422_and_says_which_there_are(
    client: TestClient, coverage: str, detail: str
) -> None:
    for path in ("/predict", "/predict/batch"):
        response = client.post(path, content=colour("red"), params={"coverage": coverage})
        assert response.status_code == 422
        assert response.json()["detail"].startswith(detail)


def test_model_without_label_sets_says_so(tmp_path: Path) -> None:
    write_model(tmp_path)
    settings = Settings.model_validate({"models": tmp_path, "model": "tiny", "provider": "cpu"})
    with TestClient(create_app(settings, ModelServer(settings))) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        response = client.post("/predict?coverage=0.95", content=colour("red"))
    assert response.status_code == 422
    assert "the model has no label sets" in response.json()["detail"]


def test_set_for_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, label_sets={"0.9": [0.5, 0.5]})
    with pytest.raises(ModelRefusedError, match="another number of classes"):
        Classifier.open(tmp_path, "tiny", provider="cpu")


@pytest.fixture
def folder(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has the repository, and pictures."""
    monkeypatch.setenv("CIFAR10_MODELS", str(models))
    monkeypatch.setenv("CIFAR10_MODEL", "tiny")
    monkeypatch.setenv("CIFAR10_PROVIDER", "cpu")
    monkeypatch.chdir(models)
    for name in ("black", "red"):
        Path(f"{name}.png").write_bytes(colour(name))
    Path("words.png").write_bytes(b"words")


@pytest.mark.usefixtures("folder")
def test_command_line_names_the_sets(capsys: pytest.CaptureFixture[str]) -> None:
    files = ("black.png", "red.png", "words.png")
    assert cli.main(["predict", *files, "--coverage", "0.95"]) == 1
    black, red, words = capsys.readouterr().out.splitlines()
    assert black.split()[-1] == "blue"
    assert red.endswith("96.5%  red or blue")
    assert "not classified" in words
    cli.main(["predict", *files, "--coverage", "0.95", "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label_set"] for row in rows] == ["blue", "red|blue", ""]
    assert rows[2]["error"].startswith("The upload is not a picture")
    cli.main(["predict", *files, "--coverage", "0.9", "--format", "jsonl"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1]["label_set"] == []
    assert "label_set" not in lines[2]
    cli.main(["predict", "red.png", "--coverage", "0.9"])
    assert capsys.readouterr().out.endswith("no class\n")


@pytest.mark.usefixtures("folder")
def test_command_line_refuses_another_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    for coverage in ("0.5", "0"):
        assert cli.main(["predict", "red.png", "--coverage", coverage]) == 2
        assert "error: --coverage: the model has label sets for 0.9, 0.95." in (
            capsys.readouterr().err
        )

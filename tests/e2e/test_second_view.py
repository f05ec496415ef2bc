"""One picture has one answer, however the service is asked: with second views, and without."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.test_grpc import PICTURES, infer
from tests.service.models import write_model

RULE = {"kind": "mirror", "below": 0.9, "temperature": 0.2}


def probabilities(predictions: list[dict[str, float]]) -> list[float]:
    return [it["probability"] for it in sorted(predictions, key=lambda it: it["class_id"])]


def ask_all(running: Server, picture: Path, environment: dict[str, str]) -> list[list[float]]:
    """The probabilities by /predict, /predict/batch, V1, gRPC and the command line."""
    data, pixels = picture.read_bytes(), PICTURES[0].tolist()
    one = web.post(f"{running.url}/predict", content=data).json()
    batch = web.post(f"{running.url}/predict/batch", files=[("files", data)]).json()
    v1 = web.post(f"{running.url}/v1/models/tiny:predict", json={"instances": [pixels]}).json()
    with grpc.insecure_channel(running.grpc_address) as channel:
        both = np.frombuffer(infer(channel).raw_output_contents[0], np.float32)
    command = [sys.executable, "-m", "service.cli", "predict", str(picture)]
    printed = subprocess.run(
        [*command, "--format", "jsonl", "--top-k", "3"],
        env=os.environ | environment,
        capture_output=True,
        check=True,
    ).stdout
    return [
        probabilities(one["predictions"]),
        probabilities(batch["results"][0]["predictions"]),
        v1["predictions"][0]["probabilities"],
        both[:3].tolist(),
        probabilities(json.loads(printed)["predictions"]),
    ]


def test_all_ways_to_ask_agree(server: Callable[..., Server], tmp_path: Path) -> None:
    write_model(tmp_path, second_view=RULE)
    picture = tmp_path / "picture.png"
    Image.fromarray(PICTURES[0]).save(picture)
    found = []
    for second_view in ("1", "0"):
        settings = {"models": tmp_path, "model": "tiny", "second_view": second_view}
        environment = {f"CIFAR10_{name.upper()}": str(value) for name, value in settings.items()}
        with server(workers=1, grpc_port=0, **settings) as running:
            answers = ask_all(running, picture, environment | {"CIFAR10_PROVIDER": "cpu"})
            counted = "classifier_second_views_total{" in web.get(f"{running.url}/metrics").text
        for other in answers[1:]:
            assert other == pytest.approx(answers[0], abs=2e-6)
        assert counted == (second_view == "1")
        found.append(answers[0])
    assert found[0] != pytest.approx(found[1], abs=1e-3)

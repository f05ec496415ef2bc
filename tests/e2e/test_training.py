"""The whole way, through the command lines: data, training, kills, publication, an answer."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.e2e import shapes, web
from tests.e2e.conftest import StartServer

SIZE = 16  # of the network's input
EPOCHS = 60  # a busy machine saves after some 20 of these short ones
TIMEOUT_S = 240

pytestmark = pytest.mark.long


class Training:
    """`python -m training run` on the pictures of a folder, with folders of its own."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.data = data
        self.models, self.runs = folder / "models", folder / "runs"
        self.history = self.runs / data.name / "baseline-seed0" / "history.csv"
        self.environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [
            *(sys.executable, "-m", "training", "run", "--preset", "baseline"),
            *("--data", str(self.data), "--models", str(self.models), "--runs", str(self.runs)),
            *("--image-size", str(SIZE), "--epochs", str(EPOCHS)),
            *options,
        ]
        return subprocess.Popen(
            command, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finished_epochs(self) -> list[str]:
        return self.history.read_text().splitlines()[1:] if self.history.exists() else []

    def stop_after(self, epochs: int, signal_: signal.Signals, *options: str) -> tuple[int, str]:
        """Start it and send a signal once that many epochs are finished."""
        process = self.start(*options)
        deadline = time.monotonic() + TIMEOUT_S
        while len(self.finished_epochs()) < epochs:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal_)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, output


def test_run_on_own_pictures_survives_ctrl_c_and_kill_and_ends_as_a_served_version(
    tmp_path: Path, start_server: StartServer
) -> None:
    """Pictures of another size and other classes than those of CIFAR-10."""
    shapes.write(tmp_path / "shapes")
    training = Training(tmp_path, tmp_path / "shapes")
    status, output = training.stop_after(2, signal.SIGINT)
    assert status == 130, output
    assert output.splitlines()[-1] == (
        "interrupted; --resume continues where the run was last saved"
    )
    assert "Traceback" not in output

    before = training.finished_epochs()
    status, _ = training.stop_after(len(before) + 2, signal.SIGKILL, "--resume")
    assert status == -signal.SIGKILL
    assert not training.models.exists()

    # The history may be one epoch ahead of the checkpoint: that epoch is run again, equally.
    before = training.finished_epochs()[:-1]
    process = training.start("--resume")
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    after = training.finished_epochs()
    assert len(after) == EPOCHS
    assert [row.rsplit(",", 2)[0] for row in after[: len(before)]] == [
        row.rsplit(",", 2)[0] for row in before
    ]
    assert "test: accuracy" in output

    with start_server(models=training.models, model="shapes").wait_until_ready() as server:
        health = web.get(f"{server.url}/health").json()
        assert (health["model"], health["version"]) == ("shapes", "1")
        signature = web.get(f"{server.url}/v2/models/shapes").json()
        assert signature["inputs"][0]["shape"] == [-1, SIZE, SIZE, 3]
        right = 0
        rng = np.random.default_rng(1)
        for name in shapes.NAMES * 10:
            file = io.BytesIO()
            shapes.draw(name, rng).save(file, "PNG")
            answer = web.post(f"{server.url}/predict", content=file.getvalue())
            assert answer.status_code == 200
            predictions = answer.json()["predictions"]
            assert len(predictions) == 3
            right += predictions[0]["label"] == name
        assert right >= 24

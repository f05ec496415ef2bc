"""The core of Triton on the model repository: python triton_core.py URL (it needs no server).

NVIDIA's wheel of PyTriton holds a whole Triton server, without the backend that computes ONNX. So
it cannot answer; but its core must find the model, take the newest version, and see by itself
that it is one for the ONNX Runtime backend, without a configuration.
"""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

import pytriton

MODELS = Path(__file__).parents[2] / "models"
SERVER = Path(pytriton.__file__).parent / "tritonserver"
PORT = 18_437
START_TIMEOUT_S = 60


def main() -> None:
    """Starts it on the models, and compares what it says that it found with what is there."""
    options = {
        "model-repository": MODELS,
        "backend-directory": SERVER / "backends",
        "http-address": "127.0.0.1",
        "http-port": PORT,
        "allow-grpc": "false",
        "allow-metrics": "false",
        "exit-on-error": "false",
    }
    command = [str(SERVER / "bin" / "tritonserver")]
    command += [f"--{name}={value}" for name, value in options.items()]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = {model["name"]: model for model in index(server)}
    finally:
        server.terminate()
        server.wait(START_TIMEOUT_S)
    for folder in (path for path in MODELS.iterdir() if path.is_dir()):
        newest = max(int(version.name) for version in folder.iterdir() if version.name.isdecimal())
        model = found.pop(folder.name)
        assert model["version"] == str(newest), model
        assert "unable to find backend library for backend 'onnxruntime'" in model["reason"], model
    assert not found, found


def index(server: subprocess.Popen[bytes]) -> list[dict[str, str]]:
    """What the server says that its repository holds, once it can be asked."""
    url = f"http://127.0.0.1:{PORT}/v2/repository/index"
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
                models: list[dict[str, str]] = json.load(answer)
                return models
        except OSError:
            assert server.poll() is None, "Triton ended"
            assert time.monotonic() < deadline, "Triton does not answer"
            time.sleep(0.1)


if __name__ == "__main__":
    main()

"""The compiled messages."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_compiled_messages_are_those_of_the_file(tmp_path: Path) -> None:
    proto = "service/grpc/inference.proto"
    options = ["-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    # In a process of its own: the compiler crashes beside the Protocol Buffers of TensorFlow.
    command = [sys.executable, "-m", "grpc_tools.protoc", *options, proto]
    subprocess.run(command, cwd=ROOT, check=True)
    for suffix in ("py", "pyi"):
        name = f"service/grpc/inference_pb2.{suffix}"
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), "run `make proto`"

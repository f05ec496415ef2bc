"""The compiled messages."""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[3]


def test_compiled_messages_are_those_of_the_file(tmp_path: Path) -> None:
    proto = "service/grpc/inference.proto"
    options = [f"-I{ROOT}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main([sys.executable, *options, proto]) == 0
    for suffix in ("py", "pyi"):
        name = f"service/grpc/inference_pb2.{suffix}"
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), "run `make proto`"

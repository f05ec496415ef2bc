"""The command itself, as `make gpu-check` calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.hardware import nvidia_driver_visible
from tests.benchmark.gpu.__main__ import PARTS, TOTAL_S, Limit, run_all
from tests.benchmark.gpu.results import Results
from tests.service.models import write_model

STAND_IN = Path(__file__).with_name("stand_in")


def check(models: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmark.gpu", *arguments],
        env=os.environ | {"CIFAR10_MODELS": str(models), "CIFAR10_MODEL": "tiny"},
        capture_output=True,
        text=True,
        timeout=TOTAL_S,
    )


@pytest.mark.long
def test_all_parts_are_run_on_a_cpu_and_find_nothing_wrong(tmp_path: Path) -> None:
    write_model(tmp_path / "models", size=(32, 32))
    output = tmp_path / "output"
    result = check(tmp_path / "models", "--provider", "cpu", "--quick", "--output", str(output))
    assert result.returncode == 0, result.stdout + result.stderr
    parts = {
        part["name"]: part for part in json.loads((output / "results.json").read_text())["parts"]
    }
    assert list(parts) == [part.part for part in PARTS]
    assert [part["error"] for part in parts.values()] == [None] * len(PARTS)
    for part in parts.values():
        assert part["findings"], part["name"]
        for finding in part["findings"]:
            assert finding["name"] in result.stdout
    named = {finding["name"]: finding for part in parts.values() for finding in part["findings"]}
    assert named["CUDA hidden"]["figures"]["status"] == "degraded"
    assert named["loss of the device under load"]["figures"]["workers replaced"] == 1
    assert named["changes of model"]["figures"]["served at the end"] == "version 2"
    load = named["V2, 32 pictures as pixels, 8 connections"]["figures"]
    assert load["failed"] == 0
    assert load["pictures/s"] == pytest.approx(load["requests/s"] * 32)


@pytest.mark.long
@pytest.mark.skipif(nvidia_driver_visible(), reason="this machine has an NVIDIA driver")
def test_steps_for_cuda_alone_come_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("CIFAR10_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("CIFAR10_MODEL", "tiny")
    write_model(tmp_path / "models", size=(32, 32))
    results = Results(tmp_path / "output", {})
    parts = ("answers", "session", "choices")
    run_all(results, [Limit(part, 60) for part in parts], ("--quick",))
    assert [part.error for part in results.parts] == [None] * len(parts)
    findings = [finding for part in results.parts for finding in part.findings]
    assert all(finding.verdict != "WRONG" for finding in findings)
    assert not [finding for finding in findings if "failed" in finding.figures]
    names = {finding.name for finding in findings}
    assert {
        "model.onnx, CUDA graphs, against model.onnx on the CPU",
        "model.onnx, bound buffers, CUDA graphs, batch 4",
        "NHWC and CUDA graphs, batches of 32",
    } <= names


@pytest.mark.skipif(nvidia_driver_visible(), reason="this machine has an NVIDIA driver")
def test_without_a_gpu_it_says_so_and_fails(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: no NVIDIA driver is visible on this machine, so there is no GPU to check\n"
    )

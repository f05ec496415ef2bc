"""The command itself, as `make gpu-check` calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.hardware import nvidia_driver_visible
from tests.benchmark.gpu.__main__ import PARTS, TOTAL_S
from tests.service.models import write_model


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


@pytest.mark.skipif(nvidia_driver_visible(), reason="this machine has an NVIDIA driver")
def test_without_a_gpu_it_says_so_and_fails(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: no NVIDIA driver is visible on this machine, so there is no GPU to check\n"
    )

"""Several devices, and several processes with one each, against one with the whole batch.

Under JAX on the CPU: of one process by a flag of XLA, of two over the loopback.
"""

import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.benchmark.loopback import free_port
from tests.training.train import small
from training.errors import TrainingError
from training.train import parallel
from training.train.checkpoint import Run
from training.train.parallel import Share

LOSSES_WITHIN = 1e-4  # relative: sums are made in another order; 4e-7 was seen
# JAX misses the heartbeats of a process for over a minute before it ends the others.
MISSED_S = 200
jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


def start(folder: Path, preset: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """A process that trains or continues a run; its output goes into a file beside the run."""
    number = variables.get("KERAS_DISTRIBUTION_PROCESS_ID", "")
    with folder.with_name(f"{folder.name}{number}.log").open("ab") as log:
        return subprocess.Popen(
            [*small.COMMAND, folder, "--preset", preset,
             *arguments],
            env=small.variables("jax", **variables), stdout=log, stderr=log,
        )  # fmt: skip


def finish(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    try:
        for process in processes:
            assert process.wait(timeout=300) == 0
    finally:
        for process in processes:
            process.kill()


def two(folder: Path, preset: str, *arguments: str) -> list[subprocess.Popen[bytes]]:
    """Two processes that train together."""
    common = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    return [
        start(folder, preset, *arguments, KERAS_DISTRIBUTION_PROCESS_ID=str(index), **common)
        for index in (0, 1)
    ]


def curves(folder: Path) -> pd.DataFrame:
    return Run(folder).read_history()[["epoch", "loss", "val_loss", "learning_rate"]]


@jax
@small.in_long_form
def test_two_devices_learn_what_one_does_from_pictures_on_the_device(tmp_path: Path) -> None:
    one, both = tmp_path / "one", tmp_path / "both"
    flag = "--xla_force_host_platform_device_count=2"
    finish([start(one, "teacher")])
    finish([start(both, "teacher", "--devices", "2", XLA_FLAGS=flag)])
    assert Run(both).read_settings().origin.devices == 2
    pd.testing.assert_frame_equal(curves(both), curves(one), rtol=LOSSES_WITHIN)


@jax
@small.in_long_form
def test_two_processes_learn_what_one_does_also_after_one_is_killed(tmp_path: Path) -> None:
    one, both = tmp_path / "one", tmp_path / "both"
    finish([start(one, "default")])
    processes = two(both, "default", "--often")
    first, partner = processes
    try:
        small.wait_for_an_epoch(Run(both), first)
        partner.kill()
        assert first.wait(timeout=MISSED_S) != 0  # it ends by itself
    finally:
        for process in processes:
            process.kill()
    assert not Run(both).is_finished()
    cut = len(Run(both).read_history())
    finish(two(both, "default"))
    assert Run(both).read_settings().origin.devices == 2
    found, expected = curves(both), curves(one)
    whole = found.index != cut  # which tells of the steps after the break alone
    pd.testing.assert_frame_equal(found[whole], expected[whole], rtol=LOSSES_WITHIN)


def test_parts_are_equal_and_make_up_the_whole() -> None:
    rows = list(range(12))
    assert [Share(index, 3).of(rows) for index in range(3)] == [rows[:4], rows[4:8], rows[8:]]
    assert [Share(index, 2, 4).even(rows) for index in (0, 1)] == [rows[:4], rows[4:8]]
    assert Share().of(rows) == Share().even(rows) == rows


@pytest.mark.parametrize("share", [Share(0, 3), Share(0, 2, 5)], ids=["processes", "devices"])
def test_batch_that_cannot_be_shared_is_refused(share: Share) -> None:
    Share(0, 2, 2).check(256, 8)
    with pytest.raises(TrainingError, match="a batch of 256 pictures and 8 outliers cannot"):
        share.check(256, 8)


def test_every_second_row_of_two_processes_is_that_of_one() -> None:
    Share(0, 2).check(32, 4, halves=True)
    Share(0, 1, 2).check(32, 2, halves=True)
    with pytest.raises(TrainingError, match="cannot be shared by 2 processes"):
        Share(0, 2).check(32, 2, halves=True)


def test_several_devices_need_jax() -> None:
    with (
        pytest.raises(TrainingError, match="under KERAS_BACKEND=jax alone"),
        parallel.scope(2),
    ):
        pass

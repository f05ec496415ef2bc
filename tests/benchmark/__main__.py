"""`make bench`: the service against its ceilings and its peers, all on this machine.

    python -m tests.benchmark [--quick] [--model models/cifar10/1/model.onnx]

Without `--model` all serve the file that the service chooses by itself. The first run builds an
environment for each server, which takes minutes and is not part of the time given below.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from tests.benchmark import environments, processor, report
from tests.benchmark.command import CORES, pin
from tests.benchmark.contestants import PEERS, SERVICE_REQUIREMENTS, Stage, service
from tests.benchmark.environments import ROOT, InstallError
from tests.benchmark.load import Wrk
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.rounds import Plan, Round, Rounds
from tests.benchmark.servers import Probe, StartError, first_label
from tests.benchmark.wire import form
from training import environment

LIBRARIES = ("onnxruntime", "pillow", "simplejpeg", "starlette", "uvicorn")
FULL = Plan(rounds=3, seconds=5, warm_up_s=3, overload_s=12, limit_s=14 * 60)
QUICK = Plan(rounds=1, seconds=2, warm_up_s=1, overload_s=4, limit_s=3 * 60)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark")
    parser.add_argument("--quick", action="store_true", help="one short round, under 3 minutes")
    parser.add_argument("--model", type=Path, help="the ONNX file that all serve")
    arguments = parser.parse_args(argv)
    try:
        run = benchmark(QUICK if arguments.quick else FULL, arguments.model)
    except (OSError, InstallError, RuntimeError, StartError, SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    folder = ROOT / "runs" / "benchmark" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    report.write(run, folder)
    print(f"\n{report.text(run)}\nwritten to {folder.relative_to(ROOT)}/")
    return 0


def benchmark(plan: Plan, wanted: Path | None) -> report.Run:
    """Builds what is missing, and measures.

    Args:
        plan: how much.
        wanted: the ONNX file that all serve; None stands for the service's choice.

    Raises:
        FileNotFoundError: wrk or the card of the model is missing.
        InstallError: the environment of the service cannot be built.
        StartError: the service cannot be started.
        RuntimeError: the service or a ceiling cannot be measured.
    """
    if wanted:  # said at once, not after all the installing
        _card(wanted)
    flags = processor.flags()
    pin()
    python = environments.ensure("service", SERVICE_REQUIREMENTS)
    pythons, failures = _install_peers()
    pictures = make_pictures()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        stage = Stage(Path(scratch), python, Probe(pictures[SMALL][0]), wanted and wanted.resolve())
        stage, model = _settle(stage)
        wrk = Wrk(Path(scratch), pictures)
        rounds = Rounds(stage, wrk, pythons, plan)
        measured = list(_within_limit(rounds, plan))
    packages = {peer.name: peer.package for peer in PEERS if peer.name in pythons}
    return report.Run(
        facts=_facts(model, python, flags, plan, len(measured)),
        precision=_card(model)["files"][model.name].get("precision", "float32"),
        flags=flags,
        versions={n: environments.version(pythons[n], p) for n, p in packages.items()},
        failures=failures | rounds.failures,
        rounds=measured,
    )


def _install_peers() -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each peer, and why some have none."""
    pythons, failures = {}, {}
    for peer in PEERS:
        try:
            pythons[peer.name] = environments.ensure(peer.module, peer.requirements)
        except InstallError as error:
            failures[peer.name] = str(error)
    return pythons, failures


def _settle(stage: Stage) -> tuple[Stage, Path]:
    """Asks the service which file it serves, and what a good answer is.

    Raises:
        StartError: it cannot be started, or serves another file than the one asked for.
    """
    picture = stage.probe.picture
    with service(stage) as server:
        health = json.loads(server.ask("/health")[1])
        _, answer = server.ask("/predict", form([picture]))
    models = stage.model.parents[2] if stage.model else ROOT / "models"
    model = models / health["model"] / health["version"] / health["variant"]
    if stage.model not in (None, model):
        raise StartError(f"the service serves {model} and not {stage.model}")
    labels = _card(model)["labels"]
    probe = Probe(picture, labels, first_label(answer, labels))
    return replace(stage, model=model, probe=probe), model


def _card(model: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(model.with_name("card.json").read_text())
    return card


def _within_limit(rounds: Rounds, plan: Plan) -> Iterator[Round]:
    """As many rounds as planned, but none that would end after the limit; at least one."""
    started = time.monotonic()
    for number in range(plan.rounds):
        spent = time.monotonic() - started
        if number and spent * (number + 1) / number > plan.limit_s:
            return
        print(f"round {number + 1} of {plan.rounds} ...", flush=True)
        yield rounds.run()


def _facts(
    model: Path, python: Path, flags: Sequence[str], plan: Plan, rounds: int
) -> dict[str, str]:
    versions = [f"{name} {environments.version(python, name)}" for name in LIBRARIES]
    return {
        "model": "/".join(model.parts[-3:]),
        "machine": f"{environment.hardware()}; wrk and each server share {CORES} cores",
        "flags of the processor": processor.describe(flags),
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
        "measured": f"{datetime.now(UTC):%Y-%m-%d}, rounds: {rounds}, seconds each: {plan.seconds}",
    }


if __name__ == "__main__":
    sys.exit(main())

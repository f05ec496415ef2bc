"""`make gpu-check`: is this machine's GPU used, does it answer as the CPU does, how fast is it?

    python -m tests.benchmark.gpu [--provider cuda] [--quick] [--output FOLDER]

Takes the model that the settings name, by default the newest of `models/cifar10`, and exits with 1
where CUDA cannot be used, an answer is wrong or a part fails. The parts are independent: each is a
process with a limit of time, the most important one first, and all together take under 5 minutes.
With `--provider cpu` the same is done without a GPU. It needs what the service needs, and no more.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from service.hardware import nvidia_driver_visible
from tests.benchmark.gpu.arguments import add_arguments
from tests.benchmark.gpu.process import run
from tests.benchmark.gpu.results import Part, Results

ROOT = Path(__file__).parents[3]
TOTAL_S = 285


class Limit(NamedTuple):
    """A part and the seconds that it may take at most."""

    part: str
    seconds: float


PARTS = (
    Limit("machine", 20),
    Limit("answers", 70),
    Limit("session", 75),
    Limit("serving", 95),
    Limit("hidden", 30),
    Limit("change", 40),
    Limit("loss", 40),
    Limit("choices", 60),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all parts, prints what they find as they go, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.gpu")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, help="folder of the results, runs/gpu/<time>")
    options = parser.parse_args(argv)
    if options.provider == "cuda" and not nvidia_driver_visible():
        reason = "no NVIDIA driver is visible on this machine, so there is no GPU to check"
        print(f"error: {reason}", file=sys.stderr)
        return 1
    # Else the part that runs would go on when this process is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    now = datetime.now(UTC)
    folder = options.output or ROOT / "runs" / "gpu" / now.strftime("%Y%m%d-%H%M%S")
    facts = {"time": now.isoformat(timespec="seconds"), "provider": options.provider}
    results = Results(folder, facts)
    arguments = ["--provider", options.provider, *(["--quick"] if options.quick else [])]
    run_all(results, PARTS, arguments)
    print(f"\nwritten to {folder}/")
    return 0 if all(part.is_good for part in results.parts) else 1


def run_all(results: Results, parts: Sequence[Limit], arguments: Sequence[str]) -> None:
    """Runs the parts one after the other; writes and prints what each finds at once."""
    ends_at = time.monotonic() + TOTAL_S
    for name, limit_s in parts:
        print(f"\n{name}", flush=True)
        part = Part(name)
        results.parts.append(part)
        for finding in run(part, arguments, min(limit_s, ends_at - time.monotonic())):
            print(f"  {finding}", flush=True)
            results.write()
        print(f"  FAILED: {part.error}" if part.error else f"  {part.seconds:.1f} s", flush=True)
        results.write()


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.exit(main())

"""Runs other people's software, as it comes, against the service: `make test-clients`.

Clients talk to a real server, over HTTP or gRPC; OpenVINO and Triton's core read the models that it
serves. Each has an environment of its own, as its requirement file says.
"""

import subprocess
import sys
from pathlib import Path

from tests.benchmark.environments import InstallError, ensure
from tests.e2e.serving import running

HERE = Path(__file__).parent
TIMEOUT_S = 120
ADMIN_KEY = "root"


def main() -> int:
    """Runs every client; returns 1 if one failed."""
    status = 0
    with running(CIFAR10_GRPC_PORT="0", CIFAR10_ADMIN_KEYS=ADMIN_KEY) as server:
        for requirements in sorted(HERE.glob("*.txt")):
            address = server.grpc_address if requirements.stem.endswith("_grpc") else server.url
            fault = run(requirements, address)
            print(f"{requirements.stem}: {fault or 'ok'}", flush=True)
            status = 1 if fault else status
    return status


def run(requirements: Path, address: str) -> str | None:
    """Runs the script beside a requirement file; returns what went wrong, if anything."""
    try:
        python = ensure(f"client-{requirements.stem}", requirements)
    except InstallError as error:
        return f"cannot be installed: {error}"
    done = subprocess.run(
        [python, requirements.with_suffix(".py"), address],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    print(done.stdout, end="", flush=True)
    return done.stderr if done.returncode else None


if __name__ == "__main__":
    sys.exit(main())

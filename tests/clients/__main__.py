"""Runs other people's software, as it comes, against the service: `make test-clients`.

Clients talk to a real server; OpenVINO and Triton's core read the models that it serves. Each has
an environment of its own, as its requirement file says.
"""

import subprocess
import sys
from pathlib import Path

from tests.benchmark.environments import InstallError, ensure
from tests.e2e.serving import shipped

HERE = Path(__file__).parent
TIMEOUT_S = 120


def main() -> int:
    """Runs every client; returns 1 if one failed."""
    status = 0
    with shipped() as url:
        for requirements in sorted(HERE.glob("*.txt")):
            fault = run(requirements, url)
            print(f"{requirements.stem}: {fault or 'ok'}", flush=True)
            status = 1 if fault else status
    return status


def run(requirements: Path, url: str) -> str | None:
    """Runs the script beside a requirement file; returns what went wrong, if anything."""
    try:
        python = ensure(f"client-{requirements.stem}", requirements)
    except InstallError as error:
        return f"cannot be installed: {error}"
    done = subprocess.run(
        [python, requirements.with_suffix(".py"), url],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    print(done.stdout, end="", flush=True)
    return done.stderr if done.returncode else None


if __name__ == "__main__":
    sys.exit(main())

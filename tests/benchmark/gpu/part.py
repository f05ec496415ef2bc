"""One part, as the command runs it: `python -m tests.benchmark.gpu.part NAME [--provider cuda]`.

Prints each finding as a line of JSON.
"""

import argparse
import importlib
import json
from collections.abc import Iterator

from tests.benchmark.gpu.arguments import add_arguments
from tests.benchmark.gpu.results import Finding


def main() -> None:
    """Runs the part that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.gpu.part")
    parser.add_argument("name")
    add_arguments(parser)
    options = parser.parse_args()
    # Imported late: the processes of the clients, which import this file, need none of it.
    plan = importlib.import_module("tests.benchmark.gpu.plan").plan_for(options)
    part = importlib.import_module(f"tests.benchmark.gpu.parts.{options.name}")
    findings: Iterator[Finding] = part.measure(plan)
    for finding in findings:
        print(json.dumps(finding._asdict()), flush=True)


if __name__ == "__main__":
    main()

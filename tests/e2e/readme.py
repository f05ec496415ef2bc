"""Runs what the README shows, and writes the answers into it: python -m tests.e2e.readme.

Run are the console blocks of nothing but `curl` and `cifar10-serve` commands, in their order on
one fresh server, and the Python snippets whose last line ends in the comment of what it prints.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable

from tests.e2e.serving import ROOT, shipped

README = ROOT / "README.md"
COMMAND_LINE = ".venv/bin/python -m service.cli"
TIMEOUT_S = 60
# The workers that are not asked tell what they have counted every second.
METRICS_S = 2

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.M | re.S)
_COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.M)
# What differs each time says nothing: it stays as it was.
_VOLATILE = re.compile(r'(?<="request_id":")\w+|(?<="uptime_s":)[\d.]+')


def main() -> None:
    """Brings the README up to date."""
    with shipped() as url:
        README.write_text(refresh(README.read_text(), url))


def refresh(text: str, url: str) -> str:
    """The text with the answers that a server gives now."""

    def block(match: re.Match[str]) -> str:
        kind, code = match.groups()
        fresh = console(code, url) if kind == "console" else python(code, url)
        return f"```{kind}\n{fresh}```"

    return _BLOCK.sub(block, text)


def console(code: str, url: str) -> str:
    """A block with the outputs of its commands, if they are such as are run."""
    if not all(
        command.startswith(("curl ", COMMAND_LINE)) for command, _ in _COMMAND.findall(code)
    ):
        return code

    def run(match: re.Match[str]) -> str:
        command, before = match.groups()
        if "/metrics" in command:
            time.sleep(METRICS_S)
        output = _run(["bash", "-c", command], url).rstrip("\n")
        end = before[len(before.rstrip("\n")) :]  # an empty line may stand before the next
        return f"$ {command}\n" + _keep_volatile(before, output) + end

    return _COMMAND.sub(run, code)


def python(code: str, url: str) -> str:
    """A snippet with what it prints as the comment of its last line, if it has one."""
    *lines, last = code.splitlines()
    shown, comment, _ = last.partition("  # ")
    if not comment:
        return code
    return "\n".join([*lines, f"{shown}  # {_run([sys.executable, '-c', code], url)}"])


def _run(command: list[str], url: str) -> str:
    """What a command prints, errors last, when it asks this server and uses this Python."""
    address, python = url.removeprefix("http://"), sys.executable
    command = [
        word.replace("localhost:8000", address).replace(".venv/bin/python", python)
        for word in command
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    return done.stdout + ("" if "curl" in command[-1] else done.stderr)


def _keep_volatile(before: str, after: str) -> str:
    old, new = _VOLATILE.findall(before), _VOLATILE.findall(after)
    if len(old) != len(new):
        return after
    values: Callable[[re.Match[str]], str] = lambda _: old.pop(0)  # noqa: E731
    return _VOLATILE.sub(values, after)


if __name__ == "__main__":
    main()

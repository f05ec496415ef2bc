"""Runs what the READMEs show, and writes the answers into them: python -m tests.e2e.readme.

Each file gets a fresh server. What is run, in order, are the console blocks of nothing but `curl`
and `cifar10-serve` commands, and the Python snippets whose last line ends in the comment of what it
prints.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.serving import ROOT, running

COMMAND_LINE = ".venv/bin/python -m service.cli"
TIMEOUT_S = 60
# The workers that do not answer the request report their counts every second, on a busy machine
# later.
METRICS_S = 5

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.M | re.S)
_COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.M)
# What differs each time stays as it was.
_VOLATILE = re.compile(r'(?<="request_id":")\w+|(?<="uptime_s":)[\d.]+')

_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def main() -> None:
    """Brings all documents up to date."""
    for document in documents():
        text = document.read_text()
        if shows_answers(text):
            with served(text) as url:
                document.write_text(refresh(text, url))


def documents() -> list[Path]:
    """The documents in the root, every README.md below, and those beside that of the service."""
    folders = {*ROOT.glob("[!.]*/**/README.md"), *ROOT.glob("service/*.md")}
    root = [ROOT / ".github" / "SECURITY.md", ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
    return [*root, *sorted(folders)]


@contextmanager
def served(text: str) -> Iterator[str]:
    """Serves with the files of keys that a document writes, and the settings that name them."""
    with tempfile.TemporaryDirectory() as folder:
        for key, name in re.findall(r"^\$ echo (\S+) > (\S+)$", text, re.M):
            Path(folder, name).write_text(f"{key}\n")
        named = re.findall(r"(CIFAR10_\w+_FILE)=(\S+)(?=.* make serve$)", text, re.M)
        with running(**{setting: str(Path(folder, name)) for setting, name in named}) as server:
            yield server.url


def shows_answers(text: str) -> bool:
    """Whether a document has blocks that are run."""
    return any(_is_run(*match.groups()) for match in _BLOCK.finditer(text))


def refresh(text: str, url: str) -> str:
    """The text with the answers that a server gives now."""

    def block(match: re.Match[str]) -> str:
        kind, code = match.groups()
        if not _is_run(kind, code):
            return match[0]
        fresh = _console(code, url) if kind == "console" else _python(code, url)
        return f"```{kind}\n{fresh}```"

    return _BLOCK.sub(block, text)


def dead_links(document: Path, text: str) -> list[str]:
    """The relative links of a document that lead to no file or no heading."""
    dead = []
    for link in _LINK.findall(_FENCE.sub("", text)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        content = text if target == document else target.read_text() if anchor else ""
        if not target.exists() or (anchor and anchor not in _anchors(content)):
            dead.append(link)
    return dead


def _anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_run(kind: str, code: str) -> bool:
    if kind == "python":
        return "  # " in code.splitlines()[-1]
    commands = [command for command, _ in _COMMAND.findall(code)]
    return bool(commands) and all(
        command.startswith(("curl ", COMMAND_LINE)) for command in commands
    )


def _console(code: str, url: str) -> str:
    """A console block with the outputs of its commands."""

    def run(match: re.Match[str]) -> str:
        command, before = match.groups()
        if "/metrics" in command:
            time.sleep(METRICS_S)
        output = _run(["bash", "-c", command], url).rstrip("\n")
        # An empty line may stand before the next command; a command without output has no end yet.
        end = before[len(before.rstrip("\n")) :] or ("\n" if output else "")
        return f"$ {command}\n" + _keep_volatile(before, output) + end

    return _COMMAND.sub(run, code)


def _python(code: str, url: str) -> str:
    """A Python snippet with what it prints as the comment of its last line."""
    *lines, last = code.splitlines()
    shown = last.partition("  # ")[0]
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

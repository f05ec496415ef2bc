"""`make changes`: whether the service goes on at its speed while models are changed under load.

    python -m tests.benchmark.changes [--changes 20]

64 connections send small pictures to the default model of one, and then of five; each change is a
new version of it, a copy of the file that ships, loaded by the administrator's route. The clients
share the two cores with the service.
"""

import argparse
import asyncio
import shutil
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.benchmark.command import CORES, print_lines
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.servers import Probe, Server
from tests.shipped import NEWEST
from training import environment

MODELS = (1, 5)
CONNECTIONS = 64
BEFORE_S = 8
BIN_S = 0.5
# Of the throughput before: the least of any half-second.
LEAST = 0.6
KEY = "changes"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.changes")
    parser.add_argument("--changes", type=int, default=20, help="how many, one after the other")
    changes = parser.parse_args(argv).changes
    return print_lines(lambda scratch: measure(scratch, changes))


def measure(scratch: Path, changes: int) -> Iterator[str]:
    """Changes the model so many times under load, and gives the lines of the report.

    Raises:
        StartError: the service cannot be started.
    """
    yield f"{environment.hardware()}; the clients and the service share {CORES} cores"
    picture = make_pictures(())[SMALL][0]
    for count in MODELS:
        models = scratch / f"models-{count}"
        for number in range(count):
            shutil.copytree(NEWEST, models / f"model{number}" / "2")
        with _server(scratch / f"server-{count}", models, picture) as server:
            yield f"{count} models, {changes} changes:"
            change = _change_under_load(server, models / "model0", picture, changes)
            lines, memory = asyncio.run(change)
        yield from lines
        yield f"  memory: {memory[0]:.0f} MB before, {max(memory[1:]):.0f} MB at most afterwards"


def _server(scratch: Path, models: Path, picture: bytes) -> Server:
    settings = {
        "CIFAR10_MODELS": str(models),
        "CIFAR10_MODEL": "model0",
        "CIFAR10_PROVIDER": "cpu",
        "CIFAR10_ADMIN_KEYS": KEY,
    }
    return Server("service", (sys.executable, "-m", "service"), scratch, Probe(picture), settings)


async def _change_under_load(
    server: Server, model: Path, picture: bytes, changes: int
) -> tuple[list[str], list[float]]:
    """Returns the lines of the report, and the memory at the start and after each change in MB."""
    answers: list[tuple[float, bool]] = []
    clients = [asyncio.create_task(_send(server, picture, answers)) for _ in range(CONNECTIONS)]
    await asyncio.sleep(BEFORE_S)
    began_at, seconds, memory = time.monotonic(), [], [server.memory_mb()]
    for version in range(3, 3 + changes):
        shutil.copytree(NEWEST, model / str(version))
        asked_at = time.monotonic()
        await asyncio.to_thread(_load, server, model.name)
        seconds.append(time.monotonic() - asked_at)
        memory.append(server.memory_mb())
        await asyncio.sleep(BIN_S)
    ended_at = time.monotonic()
    for client in clients:
        client.cancel()
    broken = await asyncio.gather(*clients, return_exceptions=True)
    lost = sum(not good for _, good in answers)
    lost += sum(isinstance(it, OSError | asyncio.IncompleteReadError) for it in broken)
    before = _rates(answers, began_at - BEFORE_S + 2 * BIN_S, began_at)
    usual, least = (
        min(rates) / median(before) for rates in (before, _rates(answers, began_at, ended_at))
    )
    return [
        f"  each change took {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})",
        f"  {_verdict(not lost)}: {len(answers):,} requests, {lost} of them lost",
        f"  {_verdict(least >= LEAST)}: slowest half-second {least:.2f} of the median before "
        f"(at least {LEAST}; the slowest before is {usual:.2f})",
    ], memory


async def _send(server: Server, picture: bytes, answers: list[tuple[float, bool]]) -> None:
    """Sends a picture over and over on one connection; notes when each was answered, with 200?"""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(picture)}\r\n\r\n"
    try:
        while True:
            writer.write(head.encode() + picture)
            received = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(received.split(b"content-length: ")[1].split(b"\r\n")[0]))
            answers.append((time.monotonic(), received.startswith(b"http/1.1 200 ")))
    finally:
        writer.close()


def _load(server: Server, name: str) -> None:
    url = f"{server.url}/v2/repository/models/{name}/load"
    headers = {"Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(url, b"", headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def _rates(answers: Sequence[tuple[float, bool]], start: float, end: float) -> list[int]:
    """The number of answers in each whole half-second."""
    bins = Counter(int((at - start) // BIN_S) for at, _ in answers if at >= start)
    return [bins[number] for number in range(int((end - start) / BIN_S))]


def _verdict(reached: bool) -> str:
    return "met" if reached else "MISSED"


if __name__ == "__main__":
    sys.exit(main())

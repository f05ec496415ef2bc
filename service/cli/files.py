"""Picture files: find them, and classify thousands with one in memory per thread."""

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from PIL import Image

from service.errors import ServiceError
from service.inference.classifier import Classification, Classifier
from service.inference.decoding import FORMATS

Outcome = Classification | ServiceError

_SUFFIXES = {suffix for suffix, format_ in Image.EXTENSION.items() if format_ in FORMATS}


class UnreadableFileError(ServiceError):
    """A file is missing, too large, or cannot be read."""


def find(arguments: Iterable[str]) -> list[Path]:
    """Lists the files that arguments name, each once and in order.

    An argument is a file, a folder, which stands for the pictures in and below it, or a pattern
    such as `photos/**/*.jpg`. One that matches nothing is kept, so that reading it reports the
    error.
    """
    names = (name for argument in arguments for name in _expand(argument))
    return list(dict.fromkeys(file for name in names for file in _below(Path(name))))


def _expand(argument: str) -> list[str]:
    if os.path.lexists(argument):
        return [argument]
    matches = glob.glob(argument, recursive=True)  # noqa: PTH207 (Path takes no absolute pattern)
    return sorted(matches) or [argument]


def _below(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    return sorted(file for file in files if file.is_file()) or [path]


def classify(
    classifier: Classifier, files: Sequence[Path], *, batch: int, threads: int, max_bytes: int
) -> Iterator[tuple[Path, Outcome]]:
    """Classifies files, a batch of pictures for each thread at a time.

    Yields:
        Each file, in order, with its classification or the reason why it has none: a file of more
        than `max_bytes`, for example, is not read.
    """
    batches = (files[start : start + batch] for start in range(0, len(files), batch))
    with ThreadPoolExecutor(threads) as pool:
        jobs = (pool.submit(_classify, classifier, some, max_bytes) for some in batches)
        # One more than the threads, so that none is idle while the results are taken.
        running = deque(islice(jobs, threads + 1))
        while running:
            yield from running.popleft().result()
            running.extend(islice(jobs, 1))


def _classify(
    classifier: Classifier, files: Sequence[Path], max_bytes: int
) -> list[tuple[Path, Outcome]]:
    unreadable: dict[Path, ServiceError] = {}

    def read() -> Iterator[bytes]:
        for file in files:
            try:
                yield _read(file, max_bytes)
            except UnreadableFileError as error:
                unreadable[file] = error
                yield b""

    answers = zip(files, classifier.classify(read()), strict=True)
    return [(file, unreadable.get(file, answer)) for file, answer in answers]


def _read(path: Path, max_bytes: int) -> bytes:
    if path.is_dir():
        raise UnreadableFileError("The folder holds no picture files.")
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise UnreadableFileError(f"{error.strerror}.") from error
    if len(data) > max_bytes:
        raise UnreadableFileError(
            f"The file is over the limit of {max_bytes:,} bytes (CIFAR10_MAX_BODY_BYTES)."
        )
    return data

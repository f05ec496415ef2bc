"""Picture files: find them, and classify thousands with one in memory per thread."""

import glob
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from service.errors import ServiceError
from service.inference.classification import Classification
from service.inference.classifier import Classifier
from service.inference.pictures.formats import SUFFIXES

Outcome = Classification | ServiceError

STANDARD_INPUT = Path("-")

# What systems and programs leave in folders of pictures, beside hidden files: caches, thumbnails,
# recycled files. `training/files.py` has the same list.
_LITTER = (
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "__macosx"),
    *("system volume information", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini"),
)


class UnreadableFileError(ServiceError):
    """A file is missing, too large, or cannot be read."""


def find(arguments: Iterable[str]) -> list[Path]:
    """Lists the files that arguments name, each once and in order.

    An argument is a file, a folder, which stands for the pictures in and below it, or a pattern
    such as `photos/**/*.jpg`; `-` is the standard input. One that matches nothing is kept, so that
    reading it reports the error. Hidden files and litter are found only where they are named.
    """
    names = (name for argument in arguments for name in _expand(argument))
    return list(dict.fromkeys(file for name in names for file in _below(Path(name))))


def _expand(argument: str) -> list[str]:
    if os.path.lexists(argument):
        return [argument]
    matches = glob.glob(argument, recursive=True)  # noqa: PTH207 (Path takes no absolute pattern)
    named = Path(argument).parts
    found = (match for match in matches if not _is_litter(set(Path(match).parts).difference(named)))
    return sorted(found) or [argument]


def _below(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    wanted = (file for file in files if not _is_litter(file.relative_to(path).parts))
    return sorted(file for file in wanted if file.is_file()) or [path]


def _is_litter(parts: Iterable[str]) -> bool:
    """Whether a part of a path is hidden, or a name that is never one of a picture's own."""
    return any(part.startswith(".") or part.lower() in _LITTER for part in parts)


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


def _open(path: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else path.open("rb")


def _read(path: Path, max_bytes: int) -> bytes:
    if path.is_dir():
        raise UnreadableFileError("The folder holds no picture files.")
    try:
        with _open(path) as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise UnreadableFileError(f"{error.strerror}.") from error
    if len(data) > max_bytes:
        raise UnreadableFileError(
            f"The file is over the limit of {max_bytes:,} bytes (CIFAR10_MAX_BODY_BYTES)."
        )
    return data

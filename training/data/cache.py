"""Cache of the pictures that the readers return, in the user's cache folder."""

import contextlib
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from training import sources
from training.data import pictures
from training.data.reader import Classes, Raw, Reader, SplitName
from training.presets import ResizeRule

try:
    import platformdirs
except ImportError:  # a machine that is lent for an hour may lack it, and needs no cache
    platformdirs = None  # type: ignore[assignment]


def read(
    reader: Reader, split: SplitName, size: int, rule: ResizeRule, classes: Classes = None
) -> Raw:
    """A split at the network's size, from the cache where files and reader have not changed.

    Args:
        reader: of the data.
        split: which split.
        size: height and width of the pictures in pixels.
        rule: how pictures of other sizes are brought to `size`.
        classes: the classes of the training split, where the test split is read.
    """
    files = reader.files(split)
    if not files or platformdirs is None:  # Keras keeps its own copy of what it downloads
        return _at_size(reader.read(split, classes), size, rule)
    path, key = _entry(reader, files, size, rule, classes)
    cached = _load(path, key)
    if cached is None:
        cached = _at_size(reader.read(split, classes), size, rule)
        _save(path, key, cached)
    return cached


def _at_size(raw: Raw, size: int, rule: ResizeRule) -> Raw:
    if raw.images.shape[1:3] == (size, size):
        return raw
    resized = [pictures.resize(Image.fromarray(image), size, rule) for image in raw.images]
    return Raw(np.stack([np.asarray(image) for image in resized]), raw.labels, raw.classes)


def _entry(
    reader: Reader, files: list[Path], size: int, rule: ResizeRule, classes: Classes
) -> tuple[Path, str]:
    """The path of a split's cache entry, and the key that an entry for these files has.

    Pillow decodes and resizes, and other releases may do so differently; so may other sources of
    the readers.
    """
    stats = [(str(path.resolve()), path.stat()) for path in files]
    where = repr([stats[0][0], size, rule])
    readers = [reader.kind, sources.digest("data"), PIL.__version__]
    changes = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    state = repr([readers, classes, *changes])
    folder = Path(platformdirs.user_cache_dir("cifar10-serve"))
    name = hashlib.sha256(where.encode()).hexdigest()[:16]
    return folder / f"{name}.npz", hashlib.sha256(state.encode()).hexdigest()


def _load(path: Path, key: str) -> Raw | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as entry:
            if str(entry["key"]) != key:
                return None
            labels = entry["labels"]
            classes = tuple(str(name) for name in entry["classes"])
            return Raw(entry["images"], labels if labels.size else None, classes)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None  # no entry, or one that is damaged: read the files again


def _save(path: Path, key: str, raw: Raw) -> None:
    labels = np.empty(0, np.int64) if raw.labels is None else raw.labels
    unfinished = path.with_suffix(f".{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(unfinished, key=key, images=raw.images, labels=labels, classes=raw.classes)
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        print(f"not cached, the next start reads the files again: {error}")

"""Files that are written whole or not at all, and names of files."""

import os
from collections.abc import Callable
from pathlib import Path

# What systems and programs leave in folders of pictures, beside hidden files: caches, thumbnails,
# recycled files. `service/cli/files.py` has the same list.
LITTER = (
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "__macosx"),
    *("system volume information", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini"),
)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all, also where the machine loses its power.

    Args:
        path: the file.
        write: is called with the path of an unfinished file.
    """
    unfinished = path.with_name(f"unfinished-{path.name}")
    write(unfinished)
    # A rename may reach the disk before the bytes of the file do.
    sync(unfinished)
    unfinished.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_litter(path: Path, folder: Path) -> bool:
    """Whether a name below a folder on the way to a path is hidden, or never one of a picture."""
    parts = path.relative_to(folder).parts
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


def one_component(name: str) -> str:
    """A name that is a single component of a path, for models and their files.

    Raises:
        ValueError: it is empty, starts with a dot, or holds a separator or a control character.
    """
    if not name or name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise ValueError(f"{name!r} is no name of a file or folder")
    return name

"""Makes packages that are installed look as if they were not."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec


class _Absent(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._names:
            raise ImportError(f"No module named {fullname!r}")
        return None


def without(*names: str) -> None:
    """Let imports of these packages fail from now on."""
    sys.meta_path.insert(0, _Absent(names))

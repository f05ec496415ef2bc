"""Makes packages that are installed look as if they were not."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec


class _Absent(MetaPathFinder, Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._names:
            return ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        raise ImportError(f"No module named {spec.name!r}")


def without(*names: str) -> None:
    """Let imports of these packages fail from now on."""
    sys.meta_path.insert(0, _Absent(names))

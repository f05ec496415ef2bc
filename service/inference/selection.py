"""Finds the versions of the models that the settings name, and the sizes of their files."""

import contextlib
from collections.abc import Mapping, Sequence

from service.errors import ModelRefusedError
from service.inference import repository
from service.settings import Settings


def list_models(settings: Settings) -> dict[str, list[int]]:
    """The versions of each model of the repository, ascending, by name of the model.

    Raises:
        ModelRefusedError: the repository cannot be read.
    """
    named = settings.model if "model" in settings.model_fields_set else None
    return repository.available(settings.models, named)


def default_model(settings: Settings, available: Mapping[str, object]) -> str:
    """The default model: a repository with a single one has that, unless a setting names one."""
    if "model" not in settings.model_fields_set and len(available) == 1:
        return next(iter(available))
    return settings.model


def select(
    settings: Settings, available: Mapping[str, Sequence[int]]
) -> dict[str, list[int | None]]:
    """The versions of each model that the settings name; None where there is none.

    `available` is what `list_models` returns.
    """
    default = default_model(settings, available)
    highest = {name: versions[-1] if versions else None for name, versions in available.items()}
    wanted: dict[str, list[int | None]] = {default: [settings.version or highest.get(default)]}
    for entry in settings.served:
        name, _, version = entry.partition("@")
        if name == "*":
            for other in available:
                wanted.setdefault(other, [highest[other]])
            continue
        versions: list[int | None] = [int(version) if version.isdigit() else highest.get(name)]
        if version == "all" and name in available:
            versions = [*reversed(available[name])] or [None]
        present = wanted.setdefault(name, [])
        present += [number for number in versions if number not in present]
    return wanted


def selected_bytes(settings: Settings) -> int:
    """Size of the models that the settings name: of each version its largest file, in bytes.

    What cannot be read has no size.
    """
    total = 0
    with contextlib.suppress(ModelRefusedError, OSError):
        wanted = select(settings, list_models(settings))
        for name, versions in wanted.items():
            for version in versions:
                folder = repository.folder_of(settings.models, name, str(version))
                total += max((file.stat().st_size for file in folder.glob("*.onnx")), default=0)
    return total

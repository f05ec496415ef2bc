"""Descriptions of served models that processes exchange: small and without code."""

from collections.abc import Mapping
from typing import NamedTuple


class ServedModel(NamedTuple):
    """One version of a model that is served, and the execution provider that runs it.

    Name and version are those of its folder in the repository. Two processes that have equal ones
    compute the same.
    """

    model: str
    version: str
    variant: str
    sha256: str
    provider: str
    requested_provider: str


class Change(NamedTuple):
    """A change of what is served.

    `load` are the models that are read from the repository again, None for all that the settings
    name. A model of `unload` is not served until it is loaded by its name.
    """

    load: frozenset[str] | None
    unload: frozenset[str] = frozenset()


LOAD_ALL = Change(load=None)


class Manifest(NamedTuple):
    """What a snapshot consists of, see `Snapshot`.

    `models` lists the versions of each model, the one that answers without a version first.
    `failures` says why models could not be loaded; such a model keeps the versions of before, if it
    had any. `notes` says how a model differs from the one that it replaces.
    """

    models: tuple[ServedModel, ...]
    failures: Mapping[str, str]
    notes: Mapping[str, str]
    unloaded: frozenset[str]
    default: str

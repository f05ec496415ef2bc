"""What a process serves: an immutable snapshot of models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from service.errors import NotReadyError, NotServedError
from service.inference.classifier import Classifier
from service.inference.memory_file import SealedFile
from service.inference.served_model import Manifest, ServedModel


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """One version of a model that is served, with the very files that were verified."""

    classifier: Classifier
    card: SealedFile
    file: SealedFile

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.classifier.model.name

    @property
    def version(self) -> int:
        """Number of the version."""
        return self.classifier.model.version

    @property
    def served(self) -> ServedModel:
        """The description of the model and its provider for other processes and clients."""
        return self.classifier.served


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The models that are served, and those that are not, with the reason.

    Attributes:
        models: the versions of each model, by its name; the first answers without a version.
        default: name of the model that answers without a name.
        failures: why a model could not be loaded; it may still have the versions of before.
        unloaded: models that were unloaded, and are not served until they are loaded by name.
        notes: how a model differs from the one that it has replaced.
    """

    models: Mapping[str, Sequence[LoadedModel]]
    default: str
    failures: Mapping[str, str] = field(default_factory=dict)
    unloaded: frozenset[str] = frozenset()
    notes: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str | None = None, version: str | None = None) -> LoadedModel:
        """Finds a model by its name and version, by default the default model's first version.

        Raises:
            NotServedError: there is no such model or version here.
            NotReadyError: the model was unloaded, or could not be loaded.
        """
        name = self.default if name is None else name
        versions = self.models.get(name, ())
        if not versions:
            if name in self.unloaded:
                raise NotReadyError(f"Model {name!r} was unloaded; it has to be loaded again.")
            if name in self.failures:
                raise NotReadyError(f"Model {name!r} could not be loaded. {self.failures[name]}")
            names = ", ".join(map(repr, sorted(self.models))) or "none"
            raise NotServedError(f"There is no model {name!r} here; this service has {names}.")
        if version is None:
            return versions[0]
        for model in versions:
            if version == str(model.version):
                return model
        served = " and ".join(map(repr, self.versions(name)))
        verb = "is" if len(versions) == 1 else "are"
        raise NotServedError(f"There is no version {version!r} of {name!r} here; {served} {verb}.")

    @property
    def status(self) -> Literal["ok", "degraded", "unloaded", "failed"]:
        """The state of the default model; `degraded` also where another one has a reason."""
        if self.default not in self.models:
            return "unloaded" if self.default in self.unloaded else "failed"
        return "degraded" if self.reason else "ok"

    @property
    def reason(self) -> str | None:
        """Why the service is degraded: a model could not be loaded, or computes on the CPU."""
        reasons = [f"{name}: {why}" for name, why in self.failures.items()]
        degraded = (model.classifier.engine.degraded_reason for model in self.loaded)
        reasons += dict.fromkeys(reason for reason in degraded if reason)
        return " ".join(reasons) or None

    def versions(self, name: str) -> list[str]:
        """The versions of a model that are served, the one that answers without a version first."""
        return [str(model.version) for model in self.models.get(name, ())]

    def find_same(self, served: ServedModel) -> LoadedModel | None:
        """Finds the model that computes the same."""
        versions = self.models.get(served.model, ())
        return next((model for model in versions if model.served == served), None)

    @property
    def loaded(self) -> list[LoadedModel]:
        """All versions of all models that are served."""
        return [model for versions in self.models.values() for model in versions]

    @property
    def manifest(self) -> Manifest:
        """What it consists of, for other processes."""
        models = tuple(model.served for model in self.loaded)
        return Manifest(models, self.failures, self.notes, self.unloaded, self.default)

    @property
    def files(self) -> list[SealedFile]:
        """The card and the file of each model, in the order of the manifest."""
        return [file for model in self.loaded for file in (model.card, model.file)]


class Handover(NamedTuple):
    """A snapshot of another process: what it consists of, and its files as in `Snapshot.files`."""

    manifest: Manifest
    files: Sequence[SealedFile]

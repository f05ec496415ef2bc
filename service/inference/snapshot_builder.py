"""Builds the next snapshot beside the present one: from the repository, or from a handover."""

import functools
from collections.abc import Callable, Sequence

from service.errors import CudaUnavailableError, NotServedError, StartupError
from service.inference import repository, verification
from service.inference.card import CARD_FILE, parse_card
from service.inference.classifier import Classifier, Observer, open_classifier
from service.inference.engine import CUDA
from service.inference.memory_check import MemoryBudget
from service.inference.memory_file import SealedFile
from service.inference.repository import StoredModel
from service.inference.selection import default_model, list_models, select
from service.inference.served_model import Change, ServedModel
from service.inference.snapshot import Handover, LoadedModel, Snapshot
from service.settings import Settings

# Opens the version of a card; the function returns the bytes of one of its files.
Open = Callable[[StoredModel, Callable[[str], bytes], Settings], Classifier]


def build_snapshot(
    settings: Settings,
    order: Change | Handover,
    before: Snapshot | None = None,
    observe: Observer = lambda _model, _stage, _seconds: None,
) -> Snapshot:
    """Builds the next snapshot: from the repository, or exactly as another process has built it.

    Args:
        settings: the settings.
        order: what to read from the repository, or what to build.
        before: the present snapshot; what has not changed is taken over.
        observe: see `Classifier.open`.

    Raises:
        StartupError: there is nothing to serve at all, or not all of a handover can be built.
    """
    open_ = functools.partial(open_classifier, observe=observe)
    if isinstance(order, Handover):
        return _rebuild(settings, order, before, open_)
    return _read(settings, order, before, open_)


def open_default(settings: Settings) -> Classifier:
    """Opens the default model alone.

    Raises:
        StartupError: it is missing or refused, or CUDA is required and missing.
    """
    name = default_model(settings, list_models(settings))
    stored = repository.load(settings.models, name, settings.version)
    return open_classifier(stored, functools.partial(verification.read, stored), settings)


def check_name(settings: Settings, snapshot: Snapshot | None, name: str) -> None:
    """Checks whether a model can be loaded or unloaded: it is served, or the settings name it.

    Raises:
        NotServedError: it is not, or the repository has none of this name.
        ModelRefusedError: the repository cannot be read.
    """
    if snapshot and (name in snapshot.models or name in snapshot.unloaded):
        return
    available = list_models(settings)
    wanted = select(settings, available)
    if name not in wanted:
        reason = "CIFAR10_SERVED does not name it" if name in available else "there is none"
        names = ", ".join(map(repr, sorted(wanted)))
        raise NotServedError(f"Model {name!r} is not served here: {reason}. There are {names}.")


def _read(settings: Settings, change: Change, before: Snapshot | None, open_: Open) -> Snapshot:
    available = list_models(settings)
    if before and change.load is None:  # a volume that is not there would empty the service
        repository.check_filled(settings.models, available)
    default = default_model(settings, available)
    budget = MemoryBudget(
        settings, sum(model.file.size for model in before.loaded) if before else 0
    )
    models: dict[str, Sequence[LoadedModel]] = {}
    failures: dict[str, str] = {}
    notes: dict[str, str] = {}
    unloaded = (before.unloaded if before else frozenset()) - (change.load or frozenset())
    unloaded |= change.unload
    wanted = select(settings, available)
    if before and change.load is not None:
        # One whose folder is gone is served until the whole repository is read again.
        gone = before.models.keys() - wanted.keys()
        wanted |= {name: [None] for name in gone}
    for name, versions in wanted.items():
        if name in unloaded:
            continue
        present = before.models.get(name, ()) if before else ()
        if change.load is not None and name not in change.load:
            models[name] = present
            if before and name in before.failures:
                failures[name] = before.failures[name]
            continue
        try:
            models[name] = [
                _load(settings, name, version, present, open_, budget) for version in versions
            ]
        except StartupError as error:
            if name == default and before is None:
                raise
            failures[name], models[name] = str(error), present
        else:
            notes |= _compare(name, present, models[name])
    served = {name: versions for name, versions in models.items() if versions}
    return Snapshot(served, default, failures, unloaded, notes)


def _rebuild(
    settings: Settings, handover: Handover, before: Snapshot | None, open_: Open
) -> Snapshot:
    manifest = handover.manifest
    files = iter(handover.files)
    models: dict[str, list[LoadedModel]] = {}
    for served, card, file in zip(manifest.models, files, files, strict=False):
        model = before.find_same(served) if before else None
        if model is None or model.card.read() != card.read():
            model = _open_as(settings, served, card, file, open_)
        models.setdefault(served.model, []).append(model)
    return Snapshot(models, manifest.default, manifest.failures, manifest.unloaded, manifest.notes)


def _open_as(
    settings: Settings, served: ServedModel, card: SealedFile, file: SealedFile, open_: Open
) -> LoadedModel:
    """Opens a model of another process, which computes the same here as there."""
    folder = repository.folder_of(settings.models, served.model, served.version)
    data = card.read()
    parsed = parse_card(data, folder / CARD_FILE)
    stored = StoredModel(folder, served.model, int(served.version), parsed, data)
    chosen = settings.model_copy(update={"variant": served.variant})
    model = LoadedModel(open_(stored, lambda _: file.read(), chosen), card, file)
    if model.served != served:
        raise StartupError(
            f"Another process computes {served.model} on {served.provider}, and this one on "
            f"{model.served.provider}."
        )
    return model


def _load(
    settings: Settings,
    name: str,
    version: int | None,
    present: Sequence[LoadedModel],
    open_: Open,
    budget: MemoryBudget,
) -> LoadedModel:
    stored = repository.load(settings.models, name, version)
    for model in present:
        served = model.served
        is_same = model.version == stored.version and served.provider == served.requested_provider
        if is_same and model.card.read() == stored.card_json:
            verification.read(stored, served.variant)  # verifies it
            return model

    @functools.cache
    def read(file: str) -> bytes:
        budget.add(stored.folder / file, repository.size(stored, file))
        return verification.read(stored, file)

    classifier = open_(stored, read, settings)
    lost = any(model.served.provider == CUDA for model in present)
    if lost and classifier.engine.provider != CUDA:
        raise CudaUnavailableError(
            f"It can be computed on the CPU alone. {classifier.engine.degraded_reason}"
        )
    file = SealedFile.of(read(classifier.model.variant))
    return LoadedModel(classifier, SealedFile.of(stored.card_json), file)


def _compare(
    name: str, present: Sequence[LoadedModel], loaded: Sequence[LoadedModel]
) -> dict[str, str]:
    """Describes how labels or input size of a model differ from the previous ones."""
    if not present or not loaded:
        return {}
    old, new = present[0].classifier, loaded[0].classifier
    notes = []
    if list(old.model.labels) != list(new.model.labels):
        notes.append(f"Version {new.model.version} has other labels than {old.model.version}.")
    sizes = [(it.engine.width, it.engine.height) for it in (old, new)]
    if sizes[0] != sizes[1]:
        before, now = (f"{width} x {height}" for width, height in sizes)
        notes.append(f"It takes pictures of {now} pixels, not of {before} as before.")
    return {name: " ".join(notes)} if notes else {}

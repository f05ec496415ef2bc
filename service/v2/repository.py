"""The model repository extension: index, load, unload."""

import functools
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import Field

from service.errors import LoadFailedError, NotReadyError, StartupError
from service.inference.model_server import ModelServer
from service.inference.repository_threads import LIST_S
from service.inference.selection import list_models
from service.inference.served_model import Change
from service.inference.snapshot import Snapshot
from service.inference.snapshot_builder import check_name
from service.v2.model import Schema

# Changes the models in all workers; returns how a loaded one differs from the one before.
Administer = Callable[[Change], Awaitable[str | None]]


class RepositoryModel(Schema):
    """A version of a model in the repository."""

    name: str = Field(examples=["cifar10"])
    version: str = Field(examples=["1"])
    state: Literal["READY", "UNAVAILABLE"]
    reason: str | None = None


async def index(model_server: ModelServer, *, ready: bool) -> list[RepositoryModel]:
    """Lists all versions of all models, or those that are served, and says which are.

    Raises:
        NotReadyError: the repository cannot be read.
    """
    snapshot = model_server.snapshot or Snapshot({}, model_server.settings.model)
    served = {(model.name, model.version) for model in snapshot.loaded}
    models = [RepositoryModel(name=n, version=str(v), state="READY") for n, v in served]
    if not ready:
        try:
            list_ = functools.partial(list_models, model_server.settings)
            found = await model_server.repository.run(list_, LIST_S)
        except StartupError as error:
            raise NotReadyError(str(error)) from error
        others = {(name, version) for name, versions in found.items() for version in versions}
        models += [
            RepositoryModel(
                name=name,
                version=str(version),
                state="UNAVAILABLE",
                reason=snapshot.failures.get(name, "unloaded"),
            )
            for name, version in others - served
        ]
    return sorted(models, key=lambda model: (model.name, int(model.version)))


async def load(model_server: ModelServer, administer: Administer, name: str) -> str | None:
    """Loads the model from the repository; returns how it differs from the one before.

    Raises:
        NotServedError: there is no such model, or the settings do not name it.
        LoadFailedError: it cannot be loaded; the one before still serves.
        NotReadyError: the repository does not answer, or the change was cut short.
    """
    await _check_name(model_server, name)
    return await administer(Change(load=frozenset({name})))


async def unload(model_server: ModelServer, administer: Administer, name: str) -> None:
    """Stops serving the model until it is loaded again; raises as `load` does."""
    await _check_name(model_server, name)
    await administer(Change(load=frozenset(), unload=frozenset({name})))


async def _check_name(model_server: ModelServer, name: str) -> None:
    try:
        check = functools.partial(check_name, model_server.settings, model_server.snapshot, name)
        await model_server.repository.run(check, LIST_S)
    except StartupError as error:
        raise LoadFailedError(str(error)) from error

"""Changes of what is served: taken together, their outcome for those who asked, and the log."""

import logging
from collections.abc import Mapping

from service.inference.served_model import Change, Manifest
from service.process.messages import Outcome

logger = logging.getLogger(__name__)


def merge(first: Change, second: Change) -> Change | None:
    """One change for two that are asked for one after the other.

    None if they cannot be one: a model is both loaded and unloaded, or is loaded by its name, which
    it may have to be after an unload, while another change loads all that were not unloaded.
    """
    unload = first.unload | second.unload
    if first.load is None or second.load is None:
        named = (first.load or frozenset()) | (second.load or frozenset())
        return None if named else Change(None, unload)
    load = first.load | second.load
    return None if load & unload else Change(load, unload)


def outcome(change: Change, manifest: Manifest) -> Outcome:
    """How a change has ended for who asked for it, by the manifest that all workers serve now."""

    def texts(by_name: Mapping[str, str]) -> str | None:
        names = by_name.keys() if change.load is None else change.load & by_name.keys()
        return " ".join(by_name[name] for name in sorted(names)) or None

    return Outcome(texts(manifest.failures), texts(manifest.notes))


def log_failure(change: Change, reason: str) -> None:
    """Logs why a change has failed as a whole."""
    what = "not loaded" if change.load != frozenset() else "not unloaded"
    logger.error(what, extra={"fields": {"why": reason}})


def log(change: Change, manifest: Manifest) -> None:
    """Logs what has been loaded and unloaded, what has not been, and why."""
    names = {served.model for served in manifest.models} | manifest.failures.keys()
    loaded = names if change.load is None else names & change.load
    for name in sorted(loaded & manifest.failures.keys()):
        fields = {"model": name, "why": manifest.failures[name]}
        logger.error("not loaded", extra={"fields": fields})
    for served in manifest.models:
        if served.model in loaded - manifest.failures.keys():
            note = manifest.notes.get(served.model)
            fields = served._asdict() | ({"note": note} if note else {})
            logger.info("loaded", extra={"fields": fields})
    for name in sorted(change.unload):
        logger.info("unloaded", extra={"fields": {"model": name}})

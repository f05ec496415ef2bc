"""Requested changes: combining them, their outcome, and the log."""

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
    """The outcome of a requested change, by the manifest that all workers serve now."""

    def texts(by_name: Mapping[str, str]) -> str | None:
        names = by_name.keys() if change.load is None else change.load & by_name.keys()
        return " ".join(by_name[name] for name in sorted(names)) or None

    return Outcome(texts(manifest.failures), texts(manifest.notes))


def log_failure(change: Change, reason: str) -> None:
    """Logs why a change has failed as a whole."""
    what = "not loaded" if change.load != frozenset() else "not unloaded"
    logger.error(what, extra={"fields": {"why": reason}})


def log(change: Change, before: Manifest | None, now: Manifest) -> None:
    """Logs what a change could not load, and what is served that was not before, or no more.

    At the start of the service there is nothing before, and another line of the log has all models.
    """
    for name in sorted(now.failures):
        if change.load is None or name in change.load:
            fields = {"model": name, "why": now.failures[name]}
            logger.error("not loaded", extra={"fields": fields})
    if before is not None:
        _log_differences(before, now)


def _log_differences(before: Manifest, now: Manifest) -> None:
    loaded = [served for served in now.models if served not in before.models]
    for served in loaded:
        note = now.notes.get(served.model)
        fields = served._asdict() | ({"note": note} if note else {})
        logger.info("loaded", extra={"fields": fields})
    gone = {served.model for served in before.models} - {served.model for served in now.models}
    for name in sorted(gone):
        what = "unloaded" if name in now.unloaded else "removed"
        logger.info(what, extra={"fields": {"model": name}})
    if not loaded and not gone:
        logger.info("no model has changed")

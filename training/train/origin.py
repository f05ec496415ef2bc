"""What a run is started with, and whether it goes on with it."""

from datetime import UTC, datetime

import pandas as pd

from training import environment, sources
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.presets import Preset
from training.train import backend
from training.train.checkpoint import Origin, Run, Settings


def settings(preset: Preset, data: DataSet, seed: int, devices: int) -> Settings:
    """The settings of a run that is started now."""
    return Settings(
        preset=preset,
        seed=seed,
        classes=data.classes,
        data=data.facts(),
        origin=Origin(
            date=datetime.now(UTC).date(),
            hardware=backend.hardware(),
            libraries=backend.libraries(),
            precision=backend.dtype_policy(),
            devices=devices,
            code=code(),
        ),
    )


def code() -> str:
    """A digest of the sources that train; the data have a fingerprint."""
    return sources.digest("presets.py", "train")


def check(run: Run, settings: Settings) -> None:
    """See that a run goes on with these settings; say and record what else has changed.

    Raises:
        TrainingError: a setting that decides the result is another one.
    """
    before = run.read_settings()
    old, new = before.origin, settings.origin
    changed = [key for key in ("preset", "seed", "classes", "data")
               if getattr(before, key) != getattr(settings, key)]  # fmt: skip
    changed += [key for key in ("precision", "devices") if getattr(old, key) != getattr(new, key)]
    if changed:
        raise TrainingError(
            f"{run.folder}: cannot resume, the run was started with another {', '.join(changed)}"
        )
    epochs = run.epochs()
    if epochs < settings.preset.epochs:
        _note(run, before, _others(old, new, epochs))


def not_recorded(settings: Settings, history: pd.DataFrame) -> list[str]:
    """What a run that was started by an earlier version of this package lacks, in words."""
    origin = settings.origin
    missing = ["code"] if origin.code is None else []
    missing += [name for name in environment.TRAINS if name not in origin.libraries]
    lines = [f"not recorded at the start: {', '.join(missing)}"] if missing else []
    if untimed := int(history["processor_seconds"].isna().sum()):
        lines.append(f"not recorded: the processor time of {untimed} of {len(history)} epochs")
    return lines


def _others(old: Origin, new: Origin, epochs: int) -> list[str]:
    """What has changed, in words."""
    parts = {"hardware": (old.hardware, new.hardware), "code": (old.code, new.code)} | {
        name: (old.libraries.get(name), new.libraries.get(name, "none"))
        for name in sorted(old.libraries | new.libraries)
    }
    return [
        f"after epoch {epochs}: {name} {was or 'not recorded'} -> {now}"
        for name, (was, now) in parts.items()
        if was != now
    ]


def _note(run: Run, before: Settings, others: list[str]) -> None:
    for other in (change for change in others if change not in before.changes):
        print(f"warning: resumed {other}; the weights may not be those of an uninterrupted run")
    if others:
        every = tuple(dict.fromkeys((*before.changes, *others)))
        run.write_settings(before.model_copy(update={"changes": every}))

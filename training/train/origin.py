"""What a run is started with, and whether it goes on with it."""

from datetime import UTC, datetime

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
        ),
    )


def check(run: Run, settings: Settings) -> None:
    """See that a run goes on with these settings; say and record what else is other than it was.

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
    parts = {"hardware": (old.hardware, new.hardware)} | {
        name: (old.libraries.get(name, "none"), new.libraries.get(name, "none"))
        for name in sorted(old.libraries | new.libraries)
    }
    epochs = len(run.read_history())
    others = [
        f"after epoch {epochs}: {name} {was} -> {now}"
        for name, (was, now) in parts.items()
        if was != now
    ]
    for other in (change for change in others if change not in before.changes):
        print(f"warning: resumed {other}; the weights will not be those of an uninterrupted run")
    if others:
        every = tuple(dict.fromkeys((*before.changes, *others)))
        run.write_settings(before.model_copy(update={"changes": every}))

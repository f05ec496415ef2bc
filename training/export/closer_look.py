"""Whether the files of a network have the rule of closer looks."""

from training.data.dataset import DataFacts
from training.data.folders import ClassFolders
from training.measure.closer_look import CloserLook
from training.presets import Preset


def choose(preset: Preset, data: DataFacts) -> CloserLook | None:
    """The rule, for networks that training has shown enlarged pictures too.

    On photographs it did not pay for a network that has seen none (`training/README.md`). Folders
    of classes may hold large pictures themselves: calibration and energy threshold are then fitted
    to whole ones, and there is no rule.
    """
    if not preset.augmentation.zoom or data.source == ClassFolders.kind:
        return None
    return CloserLook()

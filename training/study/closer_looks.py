"""Whether closer looks pay: a model on photographs without them, and with squares of several sizes.

`training/README.md` has a table that it printed.
"""

from pathlib import Path

import pandas as pd

from training.measure import photographs
from training.measure.closer_look import CloserLook
from training.study.compare import Contender

LOOKS = {
    "no closer looks": None,
    **{f"square of {share:.0%}": CloserLook(share=share) for share in (1.0, 0.9, 0.8, 0.7)},
}


def measure(one: Contender, folders: tuple[Path, Path]) -> pd.DataFrame:
    """Figures as text, with a column for each of `LOOKS`.

    Args:
        one: the model; other photographs have its second views.
        folders: of photographs of its classes, and of other things.

    Raises:
        TrainingError: see `photographs.load`.
    """
    card, file, columns = one.card, one.card.files[one.model.name], {}
    for name, look in LOOKS.items():
        loaded = photographs.load(*folders, card.labels, one.size, card.resize, look)
        found = photographs.measure(
            one.model, loaded, card.labels, file.energy_threshold, file.second_view
        )
        columns[name] = found.rows()
    return pd.DataFrame(columns)

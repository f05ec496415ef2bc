"""Presets: everything that decides what a training run makes, frozen and committed."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

ResizeMode = Literal["stretch", "crop", "pad"]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Convolution = Literal["standard", "separable", "strided"]


@dataclass(frozen=True)
class ResizeRule:
    """How a picture of any size becomes the network's input; written into the artifact.

    Attributes:
        mode: `stretch` the whole picture, `crop` the centre square, or `pad` with black.
        filter: the Pillow resampling filter.
    """

    mode: ResizeMode = "stretch"
    filter: ResizeFilter = "bilinear"


@dataclass(frozen=True)
class Preset:
    """One way to train; two runs with equal presets, seeds and data make the same model.

    Attributes:
        name: what `--preset` calls it.
        image_size: height and width of the network's input in pixels.
        resize: how other sizes are brought to `image_size`.
        widths: output channels of each stage; a stage ends in pooling.
        depth: convolutions in each stage.
        convolution: `standard`, depthwise `separable`, or `strided` in place of pooling.
        dense: units of the hidden dense layer.
        dropout: share dropped after each stage.
        dense_dropout: share dropped before the last layer.
        l2: weight of the L2 penalty on convolution and dense kernels.
        flip: mirror half of the training pictures.
        shift: greatest random translation in pixels, edges reflected.
        epochs: passes over the training split.
        batch_size: pictures in one step.
        learning_rate: peak of the schedule (linear warm-up, then cosine to zero).
        warmup_epochs: length of the warm-up.
    """

    name: str
    image_size: int = 32
    resize: ResizeRule = ResizeRule()
    widths: tuple[int, ...] = (32, 64, 128)
    depth: int = 2
    convolution: Convolution = "standard"
    dense: int = 128
    dropout: float = 0.1
    dense_dropout: float = 0.3
    l2: float = 1e-4
    flip: bool = True
    shift: int = 3
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """The preset as plain JSON types, for run folders and cards."""
        return asdict(self) | {"widths": list(self.widths)}


# The network of the article that the project grew from: Sequential stages of convolution and
# pooling that end in flatten and dense, dropout, L2, Adam, cross-entropy.
BASELINE = Preset(name="baseline")

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (BASELINE,)}


def preset_from_json(values: dict[str, Any]) -> Preset:
    """The preset that `Preset.to_json` wrote into a run folder or a card."""
    resize = ResizeRule(**values["resize"])
    return Preset(**values | {"resize": resize, "widths": tuple(values["widths"])})

"""Presets: everything that decides what a training run makes, frozen and committed."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

ResizeMode = Literal["stretch", "crop", "pad"]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


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
class ArticleNetwork:
    """Sequential stages of convolution and pooling that end in flatten and dense.

    Attributes:
        widths: output channels of each stage; a stage ends in pooling.
        depth: convolutions in each stage.
        convolution: `standard`, depthwise `separable`, or `strided` in place of pooling.
        dense: units of the hidden dense layer.
        dropout: share dropped after each stage.
        dense_dropout: share dropped before the last layer.
        l2: weight of the L2 penalty on convolution and dense kernels.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    depth: int = 2
    convolution: Literal["standard", "separable", "strided"] = "standard"
    dense: int = 128
    dropout: float = 0.1
    dense_dropout: float = 0.3
    l2: float = 1e-4


@dataclass(frozen=True)
class WhitenedNetwork:
    """A fixed whitening convolution, stages of convolutions, and a maximum over the picture.

    The shape is that of airbench (Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds").

    Attributes:
        widths: output channels of each stage; its first convolution ends in pooling, and a
            second one follows.
        extra: further convolutions in the last stage, where pictures are smallest and they cost
            least.
        activation: after the whitening and every convolution.
    """

    widths: tuple[int, ...] = (64, 256, 256)
    extra: int = 0
    activation: Literal["relu", "silu"] = "silu"


@dataclass(frozen=True)
class Augmentation:
    """Random changes to the training pictures; a share is the part of them that is changed.

    Attributes:
        flip: mirror a random half, or `alternating`: that half in even epochs, the others in odd.
        shift: greatest random translation in pixels, edges reflected.
        zoom: share that is shrunk, enlarged or squeezed, as a photograph's content is.
        tint: share whose brightness, contrast and saturation change.
        degrade: share that is blurred, made noisy, or encoded as JPEG once more.
        cutout: side in pixels of the square that is painted over in each picture.
        outliers: made pictures of nothing for each picture, with equal targets for all classes.
    """

    flip: Literal["none", "random", "alternating"] = "random"
    shift: int = 3
    zoom: float = 0.0
    tint: float = 0.0
    degrade: float = 0.0
    cutout: int = 0
    outliers: float = 0.0


@dataclass(frozen=True)
class Preset:
    """One way to train; two runs with equal presets, seeds and data make the same model.

    Attributes:
        name: what `--preset` calls it.
        network: its shape.
        augmentation: of the training pictures.
        image_size: height and width of the network's input in pixels.
        resize: how other sizes are brought to `image_size`.
        growth: train on smaller pictures first, which takes less time: the shares of `image_size`
            in the first parts of the run, all equally long; the last part has the full size.
            For a network whose weights fit every size: `WhitenedNetwork`.
        optimizer: `adam` with a cosine schedule, or `muon` with a linear one, to zero.
        learning_rate: peak of the schedule, after a linear warm-up.
        warmup_epochs: length of the warm-up.
        label_smoothing: share of each target that is spread over all classes.
        epochs: passes over the training split.
        batch_size: pictures in one step, outliers not counted.
        teacher: name of the preset whose network, trained before, gives the targets in place of
            the labels (distillation), for each picture as it was changed.
    """

    name: str
    network: ArticleNetwork | WhitenedNetwork
    augmentation: Augmentation = Augmentation()
    image_size: int = 32
    resize: ResizeRule = ResizeRule()
    growth: tuple[float, ...] = ()
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    epochs: int = 20
    batch_size: int = 128
    teacher: str | None = None

    def size(self, epoch: int) -> int:
        """Height and width of the training pictures in an epoch, counted from 0, in pixels."""
        shares = (*self.growth, 1.0)
        part = min(epoch, self.epochs - 1) * len(shares) // self.epochs  # a bench knows no last one
        return round(self.image_size * shares[part])

    def to_json(self) -> dict[str, Any]:
        """The preset as plain JSON types, for run folders and cards."""
        network = asdict(self.network) | {"widths": list(self.network.widths)}
        kind = type(self.network).__name__
        return asdict(self) | {"network": {"kind": kind, **network}, "growth": list(self.growth)}


# The network of the article that the project grew from: Sequential stages of convolution and
# pooling that end in flatten and dense, dropout, L2, Adam, cross-entropy.
BASELINE = Preset(name="baseline", network=ArticleNetwork())

# What ships.
DEFAULT = Preset(
    name="default",
    network=WhitenedNetwork(extra=1),
    augmentation=Augmentation(
        flip="alternating", shift=2, zoom=0.35, tint=0.2, degrade=0.2, cutout=12, outliers=1 / 32
    ),
    growth=(0.75, 0.875),
    optimizer="muon",
    learning_rate=0.04,
    warmup_epochs=0.5,
    label_smoothing=0.2,
    epochs=54,
    batch_size=256,
)

# Where a GPU is at hand: a network four times as wide as may ship, and the small one taught by it.
TEACHER = replace(
    DEFAULT, name="teacher", network=WhitenedNetwork(widths=(128, 512, 512)), epochs=80
)
DISTILLED = replace(DEFAULT, name="distilled", teacher=TEACHER.name, epochs=120)

PRESETS: dict[str, Preset] = {
    preset.name: preset for preset in (BASELINE, DEFAULT, TEACHER, DISTILLED)
}


def preset_from_json(values: dict[str, Any]) -> Preset:
    """The preset that `Preset.to_json` wrote into a run folder or a card."""
    network = dict(values["network"])
    kinds: dict[str, type[ArticleNetwork | WhitenedNetwork]] = {
        kind.__name__: kind for kind in (ArticleNetwork, WhitenedNetwork)
    }
    kind = kinds[network.pop("kind")]
    return Preset(
        **values
        | {
            "network": kind(**network | {"widths": tuple(network["widths"])}),
            "augmentation": Augmentation(**values["augmentation"]),
            "resize": ResizeRule(**values["resize"]),
            "growth": tuple(values["growth"]),
        }
    )

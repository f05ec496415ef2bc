"""Presets: all settings that decide the result of a training run."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

ResizeMode = Literal["stretch", "crop", "pad"]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


@dataclass(frozen=True)
class ResizeRule:
    """How a picture of any size becomes the network's input; written into the exported file.

    Attributes:
        mode: `stretch` the whole picture, `crop` the centre square, or `pad` with black.
        filter: the Pillow resampling filter.
    """

    mode: ResizeMode = "stretch"
    filter: ResizeFilter = "bilinear"


@dataclass(frozen=True)
class ArticleNetwork:
    """Sequential stages of convolution and pooling, then flatten and two dense layers.

    Attributes:
        widths: output channels of each stage; a stage ends in pooling.
        depth: convolutions in each stage.
        convolution: `standard`, depthwise `separable`, or `strided` in place of pooling.
        dense: units of the hidden dense layer.
        dropout: dropout rate after each stage.
        dense_dropout: dropout rate before the last layer.
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
    """A fixed whitening convolution, stages of convolutions, and global maximum pooling.

    The architecture follows airbench (Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds").

    Attributes:
        widths: output channels of each stage.
        extra: further convolutions in the last stage, where the feature maps are smallest and
            a convolution costs least.
        activation: used after the whitening and after each convolution.
        group: convolutions in each stage; pooling follows the first.
        residual: add what comes out of the first convolution of each stage to what the last one
            makes of it, before the activation.
        fused: normalise batches in one operation where the backend has one; the same results up to
            rounding, in less time.
    """

    widths: tuple[int, ...] = (64, 256, 256)
    extra: int = 0
    activation: Literal["relu", "silu"] = "silu"
    group: int = 2
    residual: bool = False
    fused: bool = False


@dataclass(frozen=True)
class Augmentation:
    """Random changes to the training pictures; shares are fractions of the pictures.

    Attributes:
        flip: `random` mirrors a random half in each epoch; `alternating` mirrors one fixed random
            half in even epochs and the other half in odd epochs.
        shift: largest random translation in pixels; edges are reflected.
        zoom: share that is shrunk, enlarged or squeezed.
        tint: share whose brightness, contrast and saturation change.
        degrade: share that is blurred, made noisy, or encoded as JPEG again.
        cutout: side in pixels of the grey square that covers a part of each picture.
        outliers: generated pictures without a class for each training picture; their targets
            are equal for all classes.
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
    """Settings of a training run; equal presets, seeds and data give the same model.

    Attributes:
        name: value of `--preset`.
        network: the architecture.
        augmentation: random changes to the training pictures.
        image_size: height and width of the network's input in pixels.
        resize: how pictures of other sizes are brought to `image_size`.
        growth: fractions of `image_size` to train at first, which takes less time. The run is cut
            into equally long parts, one for each fraction and a last one at the full size. Needs
            a network whose weights fit every size: `WhitenedNetwork`.
        optimizer: `adam` with a cosine schedule, or `muon` with a linear one; both end at zero.
        muon_precision: in which Muon orthogonalises: `float32`, or that of the `network`.
        learning_rate: peak of the schedule, reached by a linear warm-up.
        warmup_epochs: length of the warm-up.
        label_smoothing: share of each target that is spread over all classes.
        epochs: passes over the training split.
        batch_size: pictures in a step, without the outliers.
        sharpness_radius: radius of the sharpness-aware steps, see `SharpnessAwareModel`. Needs a
            `WhitenedNetwork`.
        sharpness_share: share of the epochs, the last ones, that have such steps; 0 with a radius
            of 0.
        teacher: name of the preset whose trained network gives the targets in place of the
            labels (distillation), for each picture as augmented.
        validate_every: epochs from one measurement on the validation split to the next; the last
            epoch has one in any case.
        on_device: lay the whole data set on the device and change its pictures there. On a GPU the
            processor would be the limit; on a processor it is less work to change them there.
    """

    name: str
    network: ArticleNetwork | WhitenedNetwork
    augmentation: Augmentation = Augmentation()
    image_size: int = 32
    resize: ResizeRule = ResizeRule()
    growth: tuple[float, ...] = ()
    optimizer: Literal["adam", "muon"] = "adam"
    muon_precision: Literal["float32", "network"] = "float32"
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    epochs: int = 20
    batch_size: int = 128
    sharpness_radius: float = 0.0
    sharpness_share: float = 0.0
    teacher: str | None = None
    validate_every: int = 1
    on_device: bool = False

    def __post_init__(self) -> None:
        """Refuse sharpness-aware steps that would silently be ordinary ones.

        Raises:
            ValueError: only one of their settings is given, the share is no share, or the network
                has no such steps.
        """
        if not 0 <= self.sharpness_share <= 1:
            raise ValueError("sharpness_share is not from 0 to 1")
        if (self.sharpness_radius > 0) != (self.sharpness_share > 0):
            raise ValueError("sharpness_radius and sharpness_share belong together")
        if self.sharpness_radius and not isinstance(self.network, WhitenedNetwork):
            raise ValueError("sharpness-aware steps need a WhitenedNetwork")

    def size(self, epoch: int) -> int:
        """Height and width of the training pictures in an epoch, counted from 0, in pixels."""
        shares = (*self.growth, 1.0)
        # `bench` goes on after the last epoch.
        part = min(epoch, self.epochs - 1) * len(shares) // self.epochs
        return round(self.image_size * shares[part])

    def sharpness_radius_in(self, epoch: int) -> float:
        """Radius of the sharpness-aware steps in an epoch, counted from 0; 0 where it has none."""
        first = round(self.epochs * (1 - self.sharpness_share))
        return self.sharpness_radius if epoch >= first else 0.0

    def steps(self, pictures: int) -> int:
        """Number of whole batches of so many pictures; at least one, which may be smaller."""
        return max(1, pictures // self.batch_size)

    def to_json(self) -> dict[str, Any]:
        """The preset as plain JSON types, for run folders and cards.

        Settings that are younger than a published card are left out where they change nothing.
        """
        network = asdict(self.network) | {"widths": list(self.network.widths)}
        kind = type(self.network).__name__
        values = asdict(self) | {"growth": list(self.growth)}
        return _without_younger(values) | {"network": {"kind": kind, **_without_younger(network)}}


# Settings that the cards of versions 1 and 2 do not have, with the value that those had.
_YOUNGER = {
    "group": 2,
    "residual": False,
    "fused": False,
    "muon_precision": "float32",
    "sharpness_radius": 0.0,
    "sharpness_share": 0.0,
    "validate_every": 1,
    "on_device": False,
}


def _without_younger(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in _YOUNGER or v != _YOUNGER[k]}


# The network of the article that the project started from: dropout, L2, Adam, cross-entropy.
BASELINE = Preset(name="baseline", network=ArticleNetwork())

# How version 2 was made, whose card calls it `default`.
DEFAULT_2 = Preset(
    name="default-2",
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

# The network of version 3, for a CPU; see `training/README.md`. It takes 69 % of the
# multiplications of version 2, and all pictures have the full size.
RESIDUAL = WhitenedNetwork(widths=(32, 176, 288), group=3, residual=True, fused=True)
DEFAULT = replace(
    DEFAULT_2,
    name="default",
    network=RESIDUAL,
    augmentation=replace(DEFAULT_2.augmentation, shift=4),
    growth=(),
    muon_precision="network",
    sharpness_radius=0.15,
    sharpness_share=0.4,
    epochs=60,
    validate_every=3,
)

# For a GPU: a network twice as wide as that of `default`, and that one distilled from it. The
# teacher is confident, so its targets are not smoothed; both see the same pictures as changed.
TEACHER = replace(
    DEFAULT,
    name="teacher",
    network=replace(RESIDUAL, widths=tuple(2 * width for width in RESIDUAL.widths)),
    learning_rate=0.06,
    sharpness_radius=0.0,
    sharpness_share=0.0,
    label_smoothing=0.0,
    epochs=80,
    batch_size=512,
    validate_every=10,
    on_device=True,
)
# How version 3 was made.
DISTILLED = replace(TEACHER, name="distilled", network=RESIDUAL, epochs=300, teacher=TEACHER.name)

PRESETS: dict[str, Preset] = {
    preset.name: preset for preset in (BASELINE, DEFAULT_2, DEFAULT, TEACHER, DISTILLED)
}


def preset_from_json(values: dict[str, Any]) -> Preset:
    """The preset that `Preset.to_json` wrote.

    Raises:
        ValueError: the values are not those of a preset.
    """
    try:
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
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a preset of this version: {error}") from None


def _validate(value: object) -> Preset:
    if isinstance(value, Preset):
        return value
    if isinstance(value, dict):
        return preset_from_json(value)
    raise ValueError("not a preset")


# A preset as a field of a pydantic model.
PresetField = Annotated[Preset, PlainValidator(_validate), PlainSerializer(Preset.to_json)]

"""One model: encoded pictures in, labelled probabilities out.

In a notebook:

    from service.inference.classifier import Classifier
    classifier = Classifier.open()
    classifier.classify([open("cat.jpg", "rb").read()])[0].top(3)
"""

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidParameterError, ModelRefusedError, ServiceError
from service.inference import closer_look, decoding, opening, repository, resizing, verification
from service.inference.classification import Classification
from service.inference.closer_look import CloserLookRule
from service.inference.decoding import ImageFacts
from service.inference.engine import Engine
from service.inference.engine_provider import open_engine, preferred_precision
from service.inference.opening import Opened
from service.inference.pictures import scaling
from service.inference.repository import StoredModel
from service.inference.resizing import ResizeRule
from service.inference.second_view import SecondViewRule
from service.inference.served_model import ServedModel
from service.inference.views import Decoded, compute_views
from service.settings import Settings, default_models

# An encoded picture, or the pixels of a decoded one: RGB, (height, width, 3), the model's size.
Upload = bytes | NDArray[np.uint8]
Observer = Callable[[str, str, float], None]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model a classifier has, and how the model's pictures are resized and judged.

    `second_view` and `closer_look` are None where the model has no such rule, or the settings turn
    them off. `label_sets` are those of the card.
    """

    name: str
    version: int
    variant: str
    sha256: str
    labels: Sequence[str]
    resize: ResizeRule
    energy_threshold: float
    second_view: SecondViewRule | None = None
    closer_look: CloserLookRule | None = None
    label_sets: Mapping[float, Sequence[float]] = field(default_factory=dict)

    def thresholds(self, coverage: float) -> Sequence[float]:
        """For each class, the least probability in the label sets of a coverage in 0..1.

        Raises:
            InvalidParameterError: the model has no such label sets.
        """
        if coverage in self.label_sets:
            return self.label_sets[coverage]
        known = ", ".join(map(str, sorted(self.label_sets)))
        raise InvalidParameterError(
            f"coverage: the model has label sets for {known}."
            if known
            else "coverage: the model has no label sets; publish it again to have some."
        )


def _ignore(_model: str, _stage: str, _seconds: float) -> None:
    pass


class Classifier:
    """A loaded model; safe to use from several threads."""

    def __init__(
        self,
        model: ModelInfo,
        engine: Engine,
        *,
        max_pixels: int = 50_000_000,
        observe: Observer = _ignore,
    ) -> None:
        """Wraps an engine that computes `model`; `open` takes one of the repository."""
        self.model = model
        self.engine = engine
        self._max_pixels = max_pixels
        self._smallest = scaling.OVERSAMPLING * max(engine.width, engine.height)
        self._observe = observe
        # Decoding takes up to 12 bytes a pixel. Huge pictures are decoded one at a time, so that a
        # few of them cannot exhaust the memory.
        self._huge = threading.Lock()

    @classmethod
    def open(
        cls,
        models: str | Path | None = None,
        name: str = "cifar10",
        version: int | None = None,
        *,
        variant: str = "auto",
        provider: Literal["auto", "cuda", "cpu"] = "auto",
        require_cuda: bool = False,
        cuda_graphs: bool = False,
        max_pixels: int = 50_000_000,
        second_view: bool = True,
        observe: Observer = _ignore,
    ) -> "Classifier":
        """Loads a model from the repository, verifies it and warms it up.

        Args:
            models: folder of the model repository; None takes the default one of the settings.
            name: name of the model.
            version: version of the model; None takes the highest.
            variant: its file; `auto` takes the fastest on the provider that keeps the accuracy.
            provider: where to compute; `auto` asks for CUDA where an NVIDIA driver is visible.
            require_cuda: fail rather than fall back to the CPU.
            cuda_graphs: capture a CUDA graph for each size of batch.
            max_pixels: most pixels in one picture.
            second_view: compute further views of pictures, where the model says so.
            observe: called with the model's name, the stage, `decode` or `infer`, and its seconds.

        Raises:
            StartupError: the model is missing or refused, or CUDA is required and missing.
        """
        folder = default_models() if models is None else Path(models)
        stored = repository.load(folder, name, version)
        return open_classifier(
            stored,
            functools.partial(verification.read, stored),
            Settings.model_construct(
                variant=variant,
                provider=provider,
                require_cuda=require_cuda,
                cuda_graphs=cuda_graphs,
                max_pixels=max_pixels,
                second_view=second_view,
            ),
            observe,
        )

    @property
    def served(self) -> ServedModel:
        """The description of the model and its provider for other processes and clients."""
        return ServedModel(
            model=self.model.name,
            version=str(self.model.version),
            variant=self.model.variant,
            sha256=self.model.sha256,
            provider=self.engine.provider,
            requested_provider=self.engine.requested_provider,
        )

    def classify(self, uploads: Iterable[Upload]) -> list[Classification | ServiceError]:
        """Classifies pictures in one inference; each is decoded before the next one is taken.

        Returns:
            For each upload, in order, its classification or the error that prevented it.

        Raises:
            EngineFailedError: the batch cannot be computed.
        """
        decoded: list[Decoded | ServiceError] = []
        for upload in uploads:
            try:
                decoded.append(self.decode(upload))
            except ServiceError as error:
                decoded.append(error)
        good = [item for item in decoded if not isinstance(item, ServiceError)]
        answers = iter(self.infer(good) if good else ())
        return [item if isinstance(item, ServiceError) else next(answers) for item in decoded]

    def open_picture(self, data: bytes, *, quickly: bool = False) -> Opened:
        """Reads the head of an upload; see `opening.open_picture`."""
        return opening.open_picture(data, self._max_pixels, self._smallest, quickly=quickly)

    def decode(self, upload: Upload | Opened) -> Decoded:
        """Decodes one upload, or one that was opened, and resizes it to the model's size.

        Raises:
            ServiceError: it is not a picture, is broken, or is too large.
            TakesLongError: it was opened quickly, and is in too many pieces for that.
        """
        width, height = self.engine.width, self.engine.height
        opened = self.open_picture(upload) if isinstance(upload, bytes) else upload
        if not isinstance(opened, Opened):
            return Decoded(opened, ImageFacts(width, height, "pixels"))
        start = time.perf_counter()
        with self._huge if opened.is_huge else nullcontext():
            picture = decoding.decode_opened(opened)
            rule = self.model.resize
            fit = functools.partial(resizing.fit, picture.pixels, width, height, rule)
            box = closer_look.square(self.model.closer_look, picture, width, height)
            decoded = Decoded(fit(picture.box), picture.facts, fit(box) if box else None)
        self._observe(self.model.name, "decode", opened.seconds + time.perf_counter() - start)
        return decoded

    def infer(self, pictures: Sequence[Decoded], *, in_haste: bool = False) -> list[Classification]:
        """Classifies at least one decoded picture in one inference; answers in order.

        Some have further views, in further inferences, unless the batch is `in_haste`; see
        `compute_views`.

        Raises:
            EngineFailedError: the batch cannot be computed.
        """
        start = time.perf_counter()
        probabilities, energies, further = compute_views(
            self.model.second_view, pictures, self.engine.run, in_haste=in_haste
        )
        self._observe(self.model.name, "infer", time.perf_counter() - start)
        # For the whole batch: a call of NumPy costs as much as sorting a row.
        rankings = np.argsort(-probabilities, axis=1, kind="stable").tolist()
        return [
            Classification(
                labels=self.model.labels,
                probabilities=row,
                ranking=ranking,
                energy=energy,
                unfamiliar=energy < self.model.energy_threshold,
                image=picture.facts,
                pixels=picture.pixels,
                second_view=view,
            )
            for picture, row, ranking, energy, view in zip(
                pictures, probabilities, rankings, energies.tolist(), further, strict=True
            )
        ]

    def self_test(self) -> int:
        """Computes one black picture and returns the number of classes.

        Raises:
            EngineFailedError: it cannot be computed.
        """
        black = np.zeros((1, self.engine.height, self.engine.width, 3), np.uint8)
        return int(self.engine.run(black)[0].shape[1])


def open_classifier(
    stored: StoredModel,
    read: Callable[[str], bytes],
    settings: Settings,
    observe: Observer = _ignore,
) -> Classifier:
    """Opens a version whose card was read; see `Classifier.open`.

    `read` returns the verified bytes of one of its files.

    Raises:
        StartupError: the model is refused, or CUDA is required and missing.
    """

    def choose(provider: str) -> str:
        return repository.choose(stored, settings.variant, preferred_precision(provider))

    engine = open_engine(
        lambda provider: read(choose(provider)),
        provider=settings.provider,
        require_cuda=settings.require_cuda,
        cuda_graphs=settings.cuda_graphs,
        max_batch=settings.max_batch,
    )
    card, file = stored.card, choose(engine.provider)
    verification.check_metadata(stored, file, engine.metadata)
    model = ModelInfo(
        name=stored.name,
        version=stored.version,
        variant=file,
        sha256=card.files[file].sha256,
        labels=card.labels,
        resize=card.resize,
        energy_threshold=card.threshold(file),
        second_view=card.files[file].second_view if settings.second_view else None,
        closer_look=card.closer_look if settings.second_view else None,
        label_sets=card.files[file].label_sets or {},
    )
    classifier = Classifier(model, engine, max_pixels=settings.max_pixels, observe=observe)
    if (classes := classifier.self_test()) != len(model.labels):
        raise ModelRefusedError(
            f"{stored.folder / file} computes {classes} classes and names {len(model.labels)}; "
            "export it again."
        )
    return classifier

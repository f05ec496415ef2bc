"""How much is measured, and what all parts have in common."""

import argparse
import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.inference import repository, verification
from service.inference.engine import CPU, CUDA
from service.inference.engine_cuda import Images, sizes_for
from service.inference.engine_provider import preferred_precision
from service.inference.repository import StoredModel
from service.settings import Settings


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        provider: what is checked; the CPU takes part in every comparison.
        pictures: how many are compared with the CPU's answers.
        cell_s: seconds of each measurement of the bare session.
        load_s: seconds of each load on the service, after `warm_up_s` that do not count.
        warm_up_s: see there.
        connections: of the loads.
        largest: the largest batch of the bare session.
        changes: how many changes of model.
    """

    provider: Literal["cuda", "cpu"]
    pictures: int = 1_000
    cell_s: float = 0.4
    load_s: float = 3.0
    warm_up_s: float = 1.0
    connections: tuple[int, ...] = (1, 64, 256)
    largest: int = 32
    changes: int = 3

    @property
    def is_cuda(self) -> bool:
        """Whether a GPU is checked."""
        return self.provider == "cuda"

    @property
    def execution_provider(self) -> str:
        """Its name in ONNX Runtime."""
        return CUDA if self.is_cuda else CPU

    @property
    def sizes(self) -> list[int]:
        """The batches of the bare session."""
        return sizes_for(self.largest)

    @functools.cached_property
    def settings(self) -> Settings:
        """Those of the environment: which model, and the service's limits."""
        update = {"provider": self.provider, "require_cuda": self.is_cuda}
        return Settings().model_copy(update=update)

    @functools.cached_property
    def stored(self) -> StoredModel:
        """The model that the settings name.

        Raises:
            StartupError: there is none.
        """
        return repository.load(self.settings.models, self.settings.model, self.settings.version)

    @property
    def served_file(self) -> str:
        """The file that the service takes."""
        precision = preferred_precision(self.execution_provider)
        return repository.choose(self.stored, self.settings.variant, precision)

    def read(self, file: str) -> bytes:
        """The verified bytes of one of the model's files."""
        return verification.read(self.stored, file)

    def noise(self, count: int) -> Images:
        """Random pictures of the model's size, uint8 (count, height, width, 3); always the same."""
        size = self.stored.card.input
        shape = (count, size.height, size.width, 3)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def plan_for(options: argparse.Namespace) -> Plan:
    """The plan that the arguments ask for."""
    if not options.quick:
        # A CPU takes seconds for 256 pictures.
        return Plan(options.provider, largest=256 if options.provider == "cuda" else 32)
    return Plan(
        options.provider,
        pictures=64,
        cell_s=0.02,
        load_s=0.4,
        warm_up_s=0.1,
        connections=(1, 8),
        largest=4,
        changes=1,
    )

"""Engines as the service opens them, whose sessions can be looked into."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from service.inference.engine import CPU, CUDA, OnnxEngine
from service.inference.engine_provider import open_engine
from tests.benchmark.gpu.plan import Plan


class Sessions:
    """Makes the session of an engine, with what the service does not offer.

    Attributes:
        session: the one that was made last.
    """

    session: ort.InferenceSession

    def __init__(
        self, choice: Mapping[str, str] | None = None, profile: Path | None = None
    ) -> None:
        """Keeps what is wanted.

        Args:
            choice: other options of CUDA's.
            profile: where the profile is written, and under which first letters.
        """
        self._choice = choice or {}
        self._profile = profile

    def __call__(
        self,
        model: bytes,
        options: ort.SessionOptions,
        *,
        providers: list[Any],
        enable_fallback: int,
    ) -> ort.InferenceSession:
        """See `open_engine`."""
        if self._profile:
            options.enable_profiling = True
            options.profile_file_prefix = str(self._profile)
        if self._choice:
            ((_, usual), _) = providers
            providers = [(CUDA, {**usual, **self._choice}), CPU]
        self.session = ort.InferenceSession(
            model, options, providers=providers, enable_fallback=enable_fallback
        )
        return self.session

    def open(self, plan: Plan, file: str, max_batch: int, *, graphs: bool = False) -> OnnxEngine:
        """Opens one of the model's files on the provider that is checked.

        Raises:
            StartupError: it cannot be computed there.
        """
        return open_engine(
            lambda _: plan.read(file),
            provider=plan.provider,
            require_cuda=plan.is_cuda,
            cuda_graphs=graphs,
            max_batch=max_batch,
            make_session=self,
        )

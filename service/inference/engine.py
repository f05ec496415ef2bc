"""A model on ONNX Runtime: tested by one inference, then run batch by batch."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import onnxruntime as ort

from service.errors import EngineFailedError, ModelRefusedError
from service.inference.engine_cuda import Buckets, Floats, Images

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
MAX_BATCH = 32


class Engine(Protocol):
    """What a classifier needs to compute batches.

    Attributes:
        height: height of the model's input in pixels.
        width: width of the model's input in pixels.
        metadata: metadata properties of the model file.
        provider: execution provider in use.
        requested_provider: execution provider that was asked for.
        degraded_reason: why the two differ, None if they are the same.
    """

    height: int
    width: int
    metadata: dict[str, str]
    provider: str
    requested_provider: str
    degraded_reason: str | None

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Computes a batch, uint8 (batch, height, width, 3), RGB; several threads may call it.

        Returns:
            Probabilities (batch, classes) and energy (batch,), float32.

        Raises:
            EngineFailedError: it cannot be computed; a later batch may succeed.
        """


class OnnxEngine:
    """A warmed-up session of ONNX Runtime; see `Engine`."""

    def __init__(
        self,
        session: ort.InferenceSession,
        requested: str,
        degraded_reason: str | None = None,
        *,
        max_batch: int = MAX_BATCH,
        graphs: bool = False,
    ) -> None:
        """Reads the facts of a session and runs one inference as a self-test.

        On CUDA, larger batches than `max_batch` are computed in parts; `graphs` says whether the
        session captures CUDA graphs.
        """
        self.requested_provider = requested
        self.degraded_reason = degraded_reason
        self.provider: str = session.get_providers()[0]
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self.height, self.width = _input_size(session)
        self._compute: Callable[[Images], Sequence[Floats]]
        if self.provider == CUDA:
            size = self.height, self.width
            self._compute = Buckets(session, *size, "cuda", max_batch, graphs=graphs).run
        else:
            outputs = ["probabilities", "energy"]
            self._compute = lambda images: session.run(outputs, {"image": images})
        self.run(np.zeros((1, self.height, self.width, 3), np.uint8))

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Computes one batch; see `Engine.run`."""
        try:
            probabilities, energy = self._compute(images)
        except Exception as error:
            raise EngineFailedError(f"{self.provider} failed: {first_line(error)}") from error
        return probabilities, energy


# Of CUDA itself or of one of its libraries, such as cuDNN.
_CUDA_FAILURE = re.compile(r"CU\w+ failure \d+: .*")


def _input_size(session: ort.InferenceSession) -> tuple[int, int]:
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    outputs = {node.name for node in session.get_outputs()}
    match inputs, outputs >= {"probabilities", "energy"}:
        case [("image", "tensor(uint8)", [_, int(height), int(width), 3])], True:
            return height, width
    raise ModelRefusedError(
        "The model must take `image`, uint8 (batch, height, width, 3), and return "
        "`probabilities` and `energy`; export it again."
    )


def first_line(error: Exception) -> str:
    """The first line of an error; of CUDA's, what failed, without where it was raised."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # It may begin with the signature of a C++ function, and goes on with the name of the host.
    line = lines[0].partition(" ; GPU=")[0]
    failure = _CUDA_FAILURE.search(line)
    return failure[0] if failure else line[:300]

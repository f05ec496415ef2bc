"""What each peer has in common: the model on one thread of ONNX Runtime, and pixels for it.

The benchmark tells a peer by its environment what to serve, BENCH_MODEL, and where, BENCH_PORT.
"""

import io
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

MAX_BATCH = 32
PORT = int(os.environ.get("BENCH_PORT", "8000"))
TOP_K = 5

Upload = bytes | Image.Image


class Model:
    """The ONNX file; its answers have the form of those of `POST /predict`."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        properties = self._session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = json.loads(properties["labels"])
        self._filter = Image.Resampling[json.loads(properties["resize"])["filter"].upper()]
        _, height, width, _ = self._session.get_inputs()[0].shape
        self._size = (width, height)

    def pixels(self, upload: Upload) -> NDArray[np.uint8]:
        """Decodes one picture to uint8 (height, width, 3)."""
        image = upload if isinstance(upload, Image.Image) else Image.open(io.BytesIO(upload))
        image = image.convert("RGB")
        if image.size != self._size:
            image = image.resize(self._size, self._filter)
        return np.asarray(image)

    def probabilities(self, uploads: Sequence[Upload]) -> NDArray[np.float32]:
        """Classifies pictures in one inference: float32 (batch, classes)."""
        images = np.stack([self.pixels(upload) for upload in uploads])
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return probabilities

    def classify(self, uploads: Sequence[Upload]) -> list[dict[str, Any]]:
        """Classifies pictures: the best classes of each, best first."""
        return [self._answer(row) for row in self.probabilities(uploads)]

    def _answer(self, probabilities: NDArray[np.float32]) -> dict[str, Any]:
        best = np.argsort(-probabilities)[:TOP_K]
        return {
            "predictions": [
                {
                    "label": self.labels[i],
                    "class_id": int(i),
                    "probability": round(float(probabilities[i]), 6),
                }
                for i in best
            ]
        }

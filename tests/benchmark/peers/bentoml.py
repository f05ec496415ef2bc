"""BentoML: two workers, each with adaptive batching."""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml
from PIL.Image import Image

from tests.benchmark.peers.model import MAX_BATCH, PORT, Model


@bentoml.service(workers=2, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self.model = Model()

    # Run in the event loop it answers more requests than in a thread.
    @bentoml.api(route="/predict", batchable=True, max_batch_size=MAX_BATCH)
    async def predict(self, file: list[Image]) -> list[dict[str, Any]]:
        return self.model.classify(file)


if __name__ == "__main__":
    bento = str(Path(sys.executable).with_name("bentoml"))
    name = "tests.benchmark.peers.bentoml:Classifier"
    os.execv(bento, [bento, "serve", name, "--host", "127.0.0.1", "--port", str(PORT)])

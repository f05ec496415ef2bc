"""PyTriton: Triton's own HTTP server and batching, two instances of the model."""

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from tests.benchmark.peers.model import MAX_BATCH, PORT, Model


class Classifier:
    def __init__(self) -> None:
        self.model = Model()

    @batch
    def __call__(self, image: NDArray[np.bytes_]) -> dict[str, NDArray[np.generic]]:
        probabilities = self.model.probabilities(image[:, 0].tolist())
        labels = [[self.model.labels[i].encode()] for i in probabilities.argmax(axis=1)]
        return {"label": np.array(labels), "probabilities": probabilities}


def main() -> None:
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="cifar10",
            infer_func=[Classifier(), Classifier()],
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="label", dtype=bytes, shape=(1,)),
                Tensor(name="probabilities", dtype=np.float32, shape=(-1,)),
            ],
            config=ModelConfig(max_batch_size=MAX_BATCH),
        )
        triton.serve()


if __name__ == "__main__":
    main()

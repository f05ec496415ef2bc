"""Ray Serve: two replicas behind HAProxy, each with batches of what is waiting."""

import signal
from typing import Any

import ray
from ray import serve
from starlette.datastructures import UploadFile
from starlette.requests import Request

from tests.benchmark.peers.model import MAX_BATCH, PORT, Model


@serve.deployment(num_replicas=2, max_ongoing_requests=256)
class Classifier:
    def __init__(self) -> None:
        self.model = Model()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.005)
    async def classify(self, uploads: list[bytes]) -> list[dict[str, Any]]:
        return self.model.classify(uploads)

    async def __call__(self, request: Request) -> dict[str, Any]:
        async with request.form() as form:
            file = form["file"]
            assert isinstance(file, UploadFile)
            answer: dict[str, Any] = await self.classify(await file.read())
        return answer


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Classifier.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
    signal.sigwait({signal.SIGTERM})
    ray.shutdown()

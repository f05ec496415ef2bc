"""MLServer: one HTTP process with adaptive batching, two inference processes."""

import asyncio
import tempfile

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop

from tests.benchmark.peers.model import MAX_BATCH, PORT, Model


class Classifier(MLModel):
    async def load(self) -> bool:
        self.model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        uploads = Base64Codec.decode_input(payload.inputs[0])
        probabilities = self.model.probabilities(uploads)
        labels = [self.model.labels[i] for i in probabilities.argmax(axis=1)]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", labels),
                NumpyCodec.encode_output("probabilities", probabilities),
            ],
        )


async def main() -> None:
    scratch = tempfile.mkdtemp()
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=PORT,
        grpc_port=0,
        metrics_endpoint=None,
        metrics_dir=scratch,
        environments_dir=scratch,
        parallel_workers=2,
        gzip_enabled=False,
    )
    model = ModelSettings(
        name="cifar10",
        implementation="tests.benchmark.peers.mlserver.Classifier",
        max_batch_size=MAX_BATCH,
        max_batch_time=0.001,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(main())

"""A client that openapi-python-client makes of /openapi.json: python generated.py URL."""

import importlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

CAT = Path(__file__).parents[1] / "data" / "cat.jpg"
PACKAGE = "generated_client"


def main(url: str) -> None:
    """Makes the client without a warning, and asks what it can ask."""
    with tempfile.TemporaryDirectory() as folder:
        generate(url, Path(folder) / PACKAGE)
        sys.path.insert(0, folder)
        with module("client").Client(base_url=url) as client:
            ask(client)
            ask_protocol(client)


def generate(url: str, target: Path) -> None:
    """Makes the client; anything that it cannot make of the document is an error."""
    tools = Path(sys.executable).parent
    subprocess.run(
        [
            *(tools / "openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--url", f"{url}/openapi.json", "--output-path", target),
        ],
        check=True,
        # It formats what it makes with the ruff that came with it.
        env=os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
    )


def module(name: str) -> ModuleType:
    """A module of the client, such as `api.predict.predict`."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def ask(client: object) -> None:
    """Asks the service's own API: one picture in both forms, several, a wrong one, the state."""
    models, file = module("models"), module("types").File
    predict, batch = module("api.predict.predict"), module("api.predict.predict_batch")

    def cat() -> object:
        return file(io.BytesIO(CAT.read_bytes()), "cat.jpg", "image/jpeg")

    for body in (models.PredictFilesBody(file=cat()), cat()):
        answer = predict.sync(client=client, body=body, top_k=3)
        assert answer.predictions[0].label == "cat"
        assert len(answer.predictions) == 3
        assert (answer.image.width, answer.image.height) == (451, 300)
    wrong = file(io.BytesIO(b"no picture"), "notes.txt", "text/plain")
    problem = predict.sync_detailed(client=client, body=wrong)
    assert problem.status_code == 415
    assert problem.parsed.type_ == "urn:cifar10-serve:problem:unsupported-format"
    several = batch.sync(client=client, body=models.PredictBatchBody(files=[cat(), wrong]))
    assert several.results[0].predictions[0].label == "cat"
    assert several.results[1].error.status == 415
    assert module("api.health.health").sync(client=client).status == "ok"
    document = module("api.model.model").sync("cifar10", client=client)
    assert document.card["labels"][3] == "cat"
    version = module("api.model.model_version").sync("cifar10", document.version, client=client)
    assert version == document
    assert module("api.model.models").sync(client=client).default == "cifar10"
    named = module("api.predict.models_predict")
    assert named.sync("cifar10", client=client, body=cat()).predictions[0].label == "cat"
    missing = named.sync("mnist", client=client, body=cat())
    assert missing.type_ == "urn:cifar10-serve:problem:not-served"
    assert "classifier_" in module("api.health.metrics").sync(client=client)


def ask_protocol(client: object) -> None:
    """Asks the Open Inference Protocol."""
    models = module("models")
    model = module("api.inference_protocol.v2_models").sync("cifar10", client=client)
    assert model.inputs[0].shape == [-1, 32, 32, 3]
    body = models.V2ModelsInferJsonBody.from_dict(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": [1, 32, 32, 3],
                    "data": [127] * 32 * 32 * 3,
                }
            ]
        }
    )
    infer = module("api.inference_protocol.v2_models_infer")
    answer = infer.sync("cifar10", client=client, body=body)
    assert answer.outputs[0].shape == [1, 10]
    assert abs(sum(answer.outputs[0].data) - 1) < 1e-5
    refused = infer.sync("mnist", client=client, body=body)
    assert "no model 'mnist'" in refused.error


if __name__ == "__main__":
    main(sys.argv[1])

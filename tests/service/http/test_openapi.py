"""The OpenAPI document: an example of every answer and every error, and none of them wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from service import errors
from service.errors import HeadTooLargeError, MalformedRequestError, SlowHeadError
from service.http import problems
from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.settings import Settings
from tests.service.conftest import colour

# Errors that are answered before a route is known.
NO_ROUTE = (HeadTooLargeError, MalformedRequestError, SlowHeadError)
ADMIN_KEY = "an-administrators-key"
CAT = Path(__file__).parents[2] / "data" / "cat.jpg"


class Example(NamedTuple):
    """One example of the document, and where it stands."""

    path: str
    method: str
    status: str
    media_type: str
    name: str
    schema: dict[str, Any]
    value: Any


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(), ModelServer(Settings())).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def examples(document: dict[str, Any]) -> Iterator[Example]:
    """Every example of a body, with "request" for the status of what is sent."""
    for path, method, operation in operations(document):
        bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for status, body in bodies.items():
            for media_type, media in body.get("content", {}).items():
                for name, example in media.get("examples", {}).items():
                    yield Example(
                        path, method, status, media_type, name, media["schema"], example["value"]
                    )


def test_every_answer_has_an_example(document: dict[str, Any]) -> None:
    shown = {(e.path, e.method, e.status) for e in examples(document)}
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            assert (path, method, status) in shown or "content" not in response


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    # It takes a second to import, which else every process of the tests spends.
    from jsonschema import Draft202012Validator

    for example in examples(document):
        schema = example.schema | {"components": document["components"]}
        Draft202012Validator(schema).validate(example.value)


def test_every_error_has_an_example_under_its_status(document: dict[str, Any]) -> None:
    shown = {(e.name, e.status) for e in examples(document)}
    for error, (status, _title) in problems._TABLE.items():
        if error not in NO_ROUTE:
            assert (errors.reason(error), str(status)) in shown


def test_picture_is_a_form_or_the_body(document: dict[str, Any]) -> None:
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/octet-stream"}


def test_parameters_in_paths_have_an_example(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter["in"] != "path" or parameter["schema"]["examples"]


def test_names_of_operations_are_short_and_unique(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert {"predict", "predict_batch", "health_ready", "v2_models_versions_infer"} < set(names)
    assert all(name.isidentifier() for name in names)


def test_names_of_schemas_are_short(document: dict[str, Any]) -> None:
    # Of two models with one name FastAPI shows their modules, and generated clients fail.
    assert not [name for name in document["components"]["schemas"] if "__" in name]


def test_each_route_answers_its_own_example(document: dict[str, Any]) -> None:
    bodies = {(e.path, e.method): e.value for e in examples(document) if e.status == "request"}
    settings = Settings.model_validate(
        {"provider": "cpu", "model_version": 1, "admin_keys": ADMIN_KEY}
    )
    app = create_app(settings, ModelServer(settings))
    with TestClient(app, headers={"X-API-Key": ADMIN_KEY}) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        # Once the model is unloaded, nobody else has an answer.
        for path, method, operation in sorted(operations(document), key=lambda o: "unload" in o[0]):
            forms = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
            if forms:
                (field,) = forms["schema"]["properties"]
                sent: dict[str, Any] = {"files": {field: CAT.read_bytes()}}
            else:
                sent = {"json": bodies[path, method]} if (path, method) in bodies else {}
            response = client.request(method, fill(path, operation), **sent)
            assert response.status_code == 200, response.text


def fill(path: str, operation: dict[str, Any]) -> str:
    """Puts the examples of the parameters into a path."""
    parameters = (p for p in operation.get("parameters", []) if p["in"] == "path")
    return path.format(**{p["name"]: p["schema"]["examples"][0] for p in parameters})


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PICTURE = colour("red")


@pytest.mark.parametrize(
    ("reason", "request_"),
    [
        ("empty-upload", {}),
        ("missing-field", {"files": {"picture": PICTURE}}),
        ("malformed-form", {"headers": FORM, "content": b"--x\r\n"}),
        ("too-many-files", {"files": [("file", PICTURE), ("file", PICTURE)]}),
        ("unsupported-format", {"content": b"no picture"}),
        ("undecodable-image", {"content": CAT.read_bytes()[:9000]}),
    ],
)
def test_example_of_a_problem_is_what_the_service_says(
    document: dict[str, Any], client: TestClient, reason: str, request_: dict[str, Any]
) -> None:
    (example,) = [e.value for e in examples(document) if (e.path, e.name) == ("/predict", reason)]
    problem = client.post("/predict", **request_).json()
    assert problem | {"request_id": example["request_id"]} == example


def test_operations_say_what_they_do(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        # FastAPI would make a title of the name of a function.
        assert not operation["summary"].istitle(), (path, method)

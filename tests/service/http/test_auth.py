"""Keys and what they open."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import colour

MakeClient = Callable[..., TestClient]

OPEN = ["/", "/docs", "/openapi.json", "/health", "/health/live", "/health/ready"]
OPEN_V2 = ["/v2/health/live", "/v2/health/ready"]
LOCKED = ["/metrics", "/v2", "/v2/models/tiny", "/v2/models/tiny/versions/1/ready"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_keys_all_is_open(client: TestClient) -> None:
    for path in OPEN + OPEN_V2 + LOCKED:
        assert client.get(path).status_code == 200, path
    assert "security" not in client.get("/openapi.json").json()["paths"]["/predict"]["post"]


def test_health_and_the_page_need_no_key(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret")
    for path in OPEN + OPEN_V2:
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("path", LOCKED)
def test_rest_needs_a_key(make_client: MakeClient, path: str) -> None:
    client = make_client(api_keys="secret,another")
    response = client.get(path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    for headers in (bearer("secret"), bearer("another"), {"X-API-Key": "secret"}):
        assert client.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer(""),
        bearer("secre"),
        bearer("secret2"),
        bearer("SECRET"),
        {"Authorization": "Basic c2VjcmV0"},
        {"Authorization": "secret"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": "s\u00e9cret"},
    ],
)
def test_missing_or_wrong_key_is_a_401_problem(
    make_client: MakeClient, headers: dict[str, str]
) -> None:
    client = make_client(api_keys="secret")
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    response = client.post("/predict", content=colour("red"), headers=sent)
    assert response.status_code == 401
    assert response.json()["type"] == "urn:cifar10-serve:problem:unauthorized"
    assert "X-API-Key" in response.json()["detail"] or "not known" in response.json()["detail"]


def test_key_opens_prediction(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret")
    response = client.post("/predict", content=colour("red"), headers=bearer("secret"))
    assert response.status_code == 200


def test_docs_offer_both_ways_to_send_a_key(make_client: MakeClient) -> None:
    document = make_client(api_keys="secret").get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}
    assert document["paths"]["/predict"]["post"]["security"]
    assert "security" not in document["paths"]["/health"]["get"]


def test_page_of_a_named_origin_may_send_a_key(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret", cors_origins="https://a.example")
    asks = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    response = client.options("/predict", headers=asks)
    assert response.status_code == 200
    assert "authorization" in response.headers["access-control-allow-headers"].lower()
    response = client.post("/predict", headers={"Origin": "https://a.example"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://a.example"


def test_metrics_can_be_left_open(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret", metrics_open=True)
    assert client.get("/metrics").status_code == 200
    assert client.get("/v2").status_code == 401


def test_key_is_neither_logged_nor_echoed(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(api_keys="s3cret-k3y")
    with caplog.at_level(logging.DEBUG, logger="service"):
        answers = [
            client.post("/predict", content=colour("red"), headers=bearer("s3cret-k3y")),
            client.post("/predict?x=s3cret-k3y", headers=bearer("wr0ng-k3y")),
        ]
    seen = caplog.text + str([record.__dict__ for record in caplog.records])
    seen += str([(answer.headers, answer.text) for answer in answers])
    assert "s3cret-k3y" not in seen
    assert "wr0ng-k3y" not in seen


def test_log_tells_apart_which_key_has_called(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(api_keys="first,second", admin_keys="root", rate_limit="1/hour")
    with caplog.at_level(logging.DEBUG, logger="service"):
        for key in ("first", "second", "second", "wrong"):
            client.post("/predict", content=colour("red"), headers=bearer(key))
        client.get("/metrics", headers=bearer("first"))
        client.post("/v2/repository/index", headers=bearer("root"))
    lines = [it.__dict__["fields"] for it in caplog.records if it.getMessage() == "request"]
    names = [hashlib.sha256(key.encode()).hexdigest()[:8] for key in ("first", "second", "root")]
    first, second, root = names
    assert [line["status"] for line in lines] == [200, 200, 429, 401, 200, 200]
    assert [line.get("key") for line in lines] == [first, second, second, None, first, root]


def index(client: TestClient, **headers: str) -> int:
    return client.post("/v2/repository/index", headers=headers).status_code


def test_administration_is_off_without_a_key_of_its_own(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret")
    assert index(client) == 403
    assert index(client, **bearer("secret")) == 403


def test_administration_needs_its_own_key(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret", admin_keys="root")
    assert index(client) == 401
    assert index(client, **bearer("wrong")) == 401
    assert index(client, **bearer("secret")) == 403
    assert index(client, **bearer("root")) == 200
    assert client.get("/metrics", headers=bearer("root")).status_code == 200


def test_key_for_administration_alone_leaves_the_rest_open(make_client: MakeClient) -> None:
    client = make_client(admin_keys="root")
    assert client.post("/predict", content=colour("red")).status_code == 200
    assert index(client) == 401


def test_key_that_asks_too_often_is_429(make_client: MakeClient) -> None:
    client = make_client(api_keys="first,second", rate_limit="2/hour")

    def ask(key: str) -> int:
        return client.post("/predict", content=colour("red"), headers=bearer(key)).status_code

    assert [ask("first") for _ in range(3)] == [200, 200, 429]
    assert ask("second") == 200
    response = client.get("/v2", headers=bearer("first"))
    assert response.status_code == 429
    assert 1700 < int(response.headers["retry-after"]) <= 1800
    assert client.get("/metrics", headers=bearer("first")).status_code == 200


def test_unknown_key_is_not_counted(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(api_keys="first", rate_limit="2/hour")
    assert client.get("/v2", headers=bearer("wrong")).status_code == 401
    assert list(tmp_path.glob("rate-*")) == []


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer other"}, 401),
        ({"Authorization": "bearer secret"}, 200),
        ({"Authorization": "Bearer   secret "}, 200),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer   ", "X-API-Key": "secret"}, 200),
        ({"X-API-Key": "secret"}, 200),
        ({"Authorization": "Basic secret"}, 401),
        ({"Authorization": "Basic secret", "X-API-Key": "secret"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/models", "/models/tiny/predict", "/v2"])
def test_key_is_read_alike_by_all_kinds_of_routes(
    make_client: MakeClient, path: str, key: dict[str, str], status: int
) -> None:
    client = make_client(api_keys="secret")
    method = "POST" if path.endswith("predict") else "GET"
    response = client.request(method, path, content=colour("red"), headers=key)
    assert (response.status_code == 401) == (status == 401)
    assert ("www-authenticate" in response.headers) == (status == 401)

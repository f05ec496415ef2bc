"""The page and /docs in a real browser, behind a reverse proxy with and without a prefix."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect, sync_playwright

from tests.e2e import chromium, proxies
from tests.e2e.conftest import Server
from tests.service.conftest import colour

PATIENCE_MS = 20_000
# Behind a name, unlike on the loopback, there is no clipboard and Swagger UI behaves differently.
HOST = "cifar.test"
RED = FilePayload(name="red.png", mimeType="image/png", buffer=colour("red"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="there is no Chromium here"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
    with sync_playwright() as playwright, chromium.launch(playwright, rules) as browser:
        yield browser


@pytest.fixture(scope="module")
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    with server(models=tiny_models, model="tiny", workers=1) as running:
        yield running


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((proxies.nginx, "/"), marks=proxies.needs_nginx, id="nginx"),
        pytest.param((proxies.nginx, "/cifar/"), marks=proxies.needs_nginx, id="nginx-prefix"),
        pytest.param(
            (proxies.haproxy, "/cifar/"), marks=proxies.needs_haproxy, id="haproxy-prefix"
        ),
    ],
)
def address(
    request: pytest.FixtureRequest, running: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the page behind a proxy, with a slash at the end."""
    start, prefix = request.param
    with start(urlsplit(running.url).netloc, tmp_path_factory.mktemp("proxy"), prefix) as url:
        yield url.replace("127.0.0.1", HOST)


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page. Whatever a test does, no request leaves the prefix and nothing is blocked."""
    requests: list[str] = []
    faults: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        yield page
    origin = address[: address.index("/", len("http://"))]
    assert [r for r in requests if not r.startswith((address, f"blob:{origin}", "data:"))] == []
    assert faults == []


def has_loaded(image: Locator) -> bool:
    return bool(image.evaluate("image => image.complete && image.naturalWidth > 0"))


def test_page_classifies_and_shows_the_model(page: Page, address: str) -> None:
    page.goto(address, wait_until="networkidle")
    expect(page.get_by_role("banner")).to_contain_text("tiny · version 1 · CPU")
    expect(page.get_by_role("region", name="The model", exact=True)).to_contain_text("red, green")
    assert all(has_loaded(image) for image in page.get_by_role("img", name="Sample").all())
    page.get_by_label("Choose pictures").set_input_files(RED)
    card = page.get_by_role("list", name="answers").locator("> li")
    expect(card.locator(".headline")).to_have_text("red")
    page.get_by_role("button", name="Sample: cat").click()
    expect(card.get_by_role("heading")).to_have_text("cat.jpg")
    expect(card).to_have_attribute("data-state", "answer")


def test_page_shows_the_command_with_the_outside_address(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Choose pictures").set_input_files(RED)
    page.get_by_role("button", name="Copy as curl").click()
    command = page.get_by_role("list", name="answers").locator("code")
    expect(command).to_have_text(f"curl --data-binary @red.png {address}predict")
    page.get_by_role("button", name="Sample: cat").click()
    page.get_by_role("button", name="Copy as curl: cat.jpg").click()
    sample = f"{address}static/samples/cat.jpg"
    expect(command).to_have_text(f"curl -s {sample} | curl --data-binary @- {address}predict")


def test_link_of_the_page_leads_to_the_docs(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="API reference").click()
    expect(page.get_by_role("heading", name="cifar10-serve")).to_be_visible()
    expect(page).to_have_url(f"{address}docs")


def test_docs_try_out_sends_a_picture(page: Page, address: str) -> None:
    page.goto(f"{address}docs", wait_until="networkidle")
    operation = page.locator(".opblock", has=page.locator('[data-path="/predict"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("input[type=file]").set_input_files(RED)
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text('"label": "red"')
    expect(operation.locator(".request-url")).to_contain_text(f"{address}predict")
    expect(operation.locator(".curl-command")).to_contain_text(f"'{address}predict")

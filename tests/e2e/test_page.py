"""The page in a real browser, served by a real process with a real, tiny model."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.e2e import chromium
from tests.e2e.conftest import Server
from tests.service.models import write_model

CAT = Path("tests/data/cat.jpg").resolve()
TIMES = "\N{MULTIPLICATION SIGN}"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="there is no Chromium here"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, chromium.launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("models")
    write_model(models, energy_threshold=2)  # black is unfamiliar, the colours are not
    with server(models=models, model="tiny") as running:
        yield running.url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page, just opened. Whatever a test does, nothing leaves the origin or is blocked."""
    requests: list[str] = []
    faults: list[str] = []
    with browser.new_context(viewport={"width": 1000, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        response = page.goto(url)
        assert response is not None
        assert "default-src 'none'" in response.headers["content-security-policy"]
        yield page
    assert [r for r in requests if not r.startswith((url, f"blob:{url}", "data:image/png"))] == []
    # The browser itself reports a refused picture and a failed connection.
    assert [fault for fault in faults if not fault.startswith("Failed to load resource")] == []


def picture(colour: str) -> bytes:
    png = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(png, "PNG")
    return png.getvalue()


def choose(page: Page, content: bytes) -> None:
    page.get_by_label("Choose a picture").set_input_files(
        {"name": "picture", "mimeType": "", "buffer": content}
    )


def headline(page: Page) -> Locator:
    return page.get_by_role("status").get_by_role("paragraph").first


def test_chosen_picture_shows_what_the_api_answers(page: Page, url: str) -> None:
    page.get_by_label("Choose a picture").set_input_files(CAT)
    expect(headline(page)).to_have_text("red")
    predictions = httpx2.post(f"{url}/predict", content=CAT.read_bytes()).json()["predictions"]
    rows = [f"{p['label']} {p['probability']:.1%}" for p in predictions]
    bars = page.get_by_role("list", name="Probabilities").get_by_role("listitem")
    assert [" ".join(text.split()) for text in bars.all_inner_texts()] == rows
    bar = page.get_by_role("progressbar", name="red")
    assert bar.evaluate("bar => bar.value") == pytest.approx(predictions[0]["probability"])
    status = page.get_by_role("status")
    expect(status).to_contain_text("sure")
    expect(status).to_contain_text(f"JPEG, 451 {TIMES} 300 pixels")
    expect(status).to_contain_text("Answered in ")
    expect(page.get_by_role("banner")).to_contain_text("tiny · version 1 · CPU")


def test_every_class_of_the_shipped_model_has_a_bar(
    browser: Browser, server: Callable[..., Server]
) -> None:
    with server() as shipped, browser.new_context() as context:
        page = context.new_page()
        page.goto(shipped.url, wait_until="networkidle")
        page.get_by_label("Choose a picture").set_input_files(CAT)
        expect(headline(page)).to_have_text("cat")
        expect(page.get_by_role("progressbar")).to_have_count(10)


def test_classes_that_are_not_named_share_a_bar(page: Page) -> None:
    page.route("**/predict?*", lambda route: route.continue_(url=f"{route.request.url}&top_k=2"))
    choose(page, picture("black"))
    expect(page.get_by_role("listitem").last).to_contain_text("all others")
    expect(page.get_by_role("listitem").last).to_contain_text("33.3%")


def test_model_sees_its_own_size_unsmoothed(page: Page) -> None:
    choose(page, picture("lime"))
    seen = page.get_by_alt_text("The picture as the model sees it")
    expect(seen).to_have_css("image-rendering", "pixelated")
    expect(page.get_by_text(f"What the model sees: 8 {TIMES} 8 pixels")).to_be_visible()
    assert seen.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [8, 8]


def test_sample_is_reached_and_pressed_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose a picture")).to_be_focused()
    page.keyboard.press("Tab")
    sample = page.get_by_role("button", name="Sample: cat")
    expect(sample).to_be_focused()
    expect(sample).to_have_css("outline-style", "solid")
    page.keyboard.press("Enter")
    expect(headline(page)).to_have_text("red")


def test_dropped_picture_is_answered(page: Page) -> None:
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(CAT)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": 200, "y": 300, "data": data}
        devtools.send("Input.dispatchDragEvent", event)
    expect(headline(page)).to_have_text("red")


def test_pasted_picture_is_answered(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (base64) => {
          const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
          const picture = new Blob([bytes], {type: "image/png"});
          await navigator.clipboard.write([new ClipboardItem({"image/png": picture})]);
        }""",
        base64.b64encode(picture("blue")).decode(),
    )
    page.keyboard.press("Control+V")
    expect(headline(page)).to_have_text("blue")


def test_unfamiliar_picture_is_called_a_guess(page: Page) -> None:
    choose(page, picture("black"))
    expect(page.get_by_role("status")).to_contain_text("Unfamiliar")
    choose(page, picture("blue"))
    expect(headline(page)).to_have_text("blue")
    expect(page.get_by_role("status")).not_to_contain_text("Unfamiliar")


def test_text_file_is_refused_and_the_next_picture_answered(page: Page, url: str) -> None:
    problem = httpx2.post(f"{url}/predict", content=b"just words").json()
    choose(page, b"just words")
    expect(headline(page)).to_have_text(problem["title"])
    expect(page.get_by_role("status")).to_contain_text(problem["detail"])
    expect(page.get_by_role("progressbar")).to_have_count(0)
    choose(page, picture("blue"))
    expect(headline(page)).to_have_text("blue")


def test_lost_connection_is_said_and_overcome(page: Page) -> None:
    page.context.set_offline(True)
    choose(page, picture("blue"))
    expect(headline(page)).to_have_text("No answer from the service")
    expect(page.get_by_role("banner")).to_contain_text("The service does not answer")
    page.context.set_offline(False)
    expect(page.get_by_role("banner")).to_contain_text("tiny · version 1 · CPU")
    choose(page, picture("blue"))
    expect(headline(page)).to_have_text("blue")


def test_degraded_provider_is_named(page: Page) -> None:
    health = httpx2.get(f"{page.url}health").json()
    health |= {"status": "degraded", "requested_provider": "CUDAExecutionProvider"}
    page.route("**/health", lambda route: route.fulfill(json=health))
    page.reload()
    expect(page.get_by_role("banner")).to_contain_text("CPU, degraded: CUDA was asked for")


def test_answer_fits_and_comes_into_view_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    choose(page, picture("black"))
    expect(headline(page)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_state_is_accessible(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    paper = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    brightness = int(paper.removeprefix("rgb(").split(",")[0])
    assert brightness > 200 if scheme == "light" else brightness < 50
    for content, text in ((None, "picture"), (picture("black"), "Unfamiliar"), (b"-", "format")):
        if content:
            choose(page, content)
        expect(page.get_by_role("status")).to_contain_text(text)
        report = Axe().run(page)
        assert report.violations_count == 0, report.generate_report()

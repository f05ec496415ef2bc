"""The page in a real browser, served by a real process with a real, tiny model."""

import base64
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect, sync_playwright

from tests.e2e import chromium, web
from tests.e2e.conftest import Server
from tests.service.models import write_model

CAT = Path("tests/data/cat.jpg").resolve()
PATIENCE_MS = 20_000
TIMES = "\N{MULTIPLICATION SIGN}"

MEASURED = {
    "metrics": {"model.onnx": {"test": {"pictures": 1200, "accuracy": 0.9125, "log_loss": 0.31}}},
    "reliability": {
        "model.onnx": {
            "test": [
                {"confidence": 0.42, "accuracy": 0.5, "pictures": 200},
                {"confidence": 0.95, "accuracy": 0.995, "pictures": 1000},
            ]
        }
    },
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="there is no Chromium here"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, chromium.launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("models")
    card = write_model(models, energy_threshold=2) / "card.json"  # black alone is unfamiliar
    card.write_text(json.dumps(json.loads(card.read_text()) | MEASURED))
    with server(models=models, model="tiny") as running:
        yield running.url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page, just opened. Whatever a test does, nothing leaves the origin or is blocked."""
    requests: list[str] = []
    faults: list[str] = []
    with browser.new_context(viewport={"width": 1000, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
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


def choose(page: Page, *contents: bytes) -> None:
    files = [
        FilePayload(name=f"{i}.png", mimeType="", buffer=data) for i, data in enumerate(contents)
    ]
    page.get_by_label("Choose pictures").set_input_files(files)


def cards(page: Page) -> Locator:
    return page.get_by_role("list", name="answers").locator("> li")


def headline(page: Page) -> Locator:
    """What the first card says."""
    return cards(page).first.locator(".message").get_by_role("paragraph").first


def test_chosen_picture_shows_what_the_api_answers(page: Page, url: str) -> None:
    page.get_by_label("Choose pictures").set_input_files(CAT)
    expect(headline(page)).to_have_text("red")
    predictions = web.post(f"{url}/predict", content=CAT.read_bytes()).json()["predictions"]
    rows = [f"{p['label']} {p['probability']:.1%}" for p in predictions]
    bars = page.get_by_role("list", name="Probabilities").get_by_role("listitem")
    assert [" ".join(text.split()) for text in bars.all_inner_texts()] == rows
    bar = page.get_by_role("progressbar", name="red")
    assert bar.evaluate("bar => bar.value") == pytest.approx(predictions[0]["probability"])
    (card,) = cards(page).all()
    expect(card.get_by_role("heading")).to_have_text("cat.jpg")
    for text in ("sure", f"JPEG, 451\u00a0{TIMES}\u00a0300 pixels", "Answered in "):
        expect(card).to_contain_text(text)
    spoken = f"cat.jpg: red, {predictions[0]['probability']:.1%} sure"
    expect(page.get_by_role("status").first).to_have_text(spoken)
    expect(page.get_by_role("banner")).to_contain_text("tiny · version 1 · CPU")


def test_each_of_several_pictures_has_a_card_in_order(page: Page) -> None:
    colours = ["blue", "lime", "red"] * 5
    choose(page, *map(picture, colours[:7]), b"just words", *map(picture, colours[7:]))
    expect(page.get_by_role("status").first).to_have_text("15 of 16 pictures answered, 1 failed")
    texts = [card.locator(".headline").inner_text() for card in cards(page).all()]
    expected = [colour.replace("lime", "green") for colour in colours]
    assert texts == [*expected[:7], "Unsupported format", *expected[7:]]
    names = cards(page).get_by_role("heading").all_inner_texts()
    assert names == [f"{i}.png" for i in range(16)]


def test_newer_pictures_replace_those_before(page: Page) -> None:
    page.route("**/predict?*", lambda _route: None, times=1)  # never answered
    choose(page, picture("red"))
    choose(page, picture("blue"), picture("lime"))
    expect(page.get_by_role("status").first).to_have_text("2 of 2 pictures answered")
    expect(cards(page)).to_have_count(2)
    choose(page, picture("blue"))
    expect(cards(page)).to_have_count(1)


def test_every_class_of_the_shipped_model_has_a_bar(
    browser: Browser, server: Callable[..., Server]
) -> None:
    with server() as shipped, browser.new_context() as context:
        page = context.new_page()
        page.goto(shipped.url, wait_until="networkidle")
        page.get_by_label("Choose pictures").set_input_files(CAT)
        expect(headline(page)).to_have_text("cat")
        expect(page.get_by_role("progressbar")).to_have_count(10)
        expect(page.get_by_role("region", name="The model", exact=True)).to_contain_text(
            "test pictures"
        )


def test_classes_that_are_not_named_share_a_bar(page: Page) -> None:
    page.route("**/predict?*", lambda route: route.continue_(url=f"{route.request.url}&top_k=2"))
    choose(page, picture("black"))
    last = page.get_by_role("list", name="Probabilities").get_by_role("listitem").last
    expect(last).to_contain_text("all others")
    expect(last).to_contain_text("33.3%")


def test_model_sees_its_own_size_unsmoothed(page: Page) -> None:
    choose(page, picture("lime"))
    seen = page.get_by_alt_text("The picture as the model sees it")
    expect(seen).to_have_css("image-rendering", "pixelated")
    expect(page.get_by_text(f"What the model sees: 8\u00a0{TIMES}\u00a08 pixels")).to_be_visible()
    assert seen.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [8, 8]


def test_sample_is_reached_and_pressed_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose pictures")).to_be_focused()
    page.keyboard.press("Tab")
    sample = page.get_by_role("button", name="Sample: cat")
    expect(sample).to_be_focused()
    expect(sample).to_have_css("outline-style", "solid")
    page.keyboard.press("Enter")
    expect(headline(page)).to_have_text("red")


def drop(page: Page, *paths: Path) -> None:
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": 200, "y": 300, "data": data}
        devtools.send("Input.dispatchDragEvent", event)


def test_dropped_pictures_are_answered(page: Page) -> None:
    drop(page, CAT, Path("service/static/samples/ship.jpg").resolve())
    expect(page.get_by_role("status").first).to_have_text("2 of 2 pictures answered")


def test_dropped_folder_is_refused(page: Page) -> None:
    drop(page, CAT.parent)
    expect(headline(page)).to_have_text("That cannot be read")


def test_dropped_text_is_no_picture(page: Page) -> None:
    drop(page)
    expect(page.get_by_role("status").first).to_contain_text("drop files from your computer")


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
    expect(cards(page)).to_contain_text("Unfamiliar")
    choose(page, picture("blue"))
    expect(headline(page)).to_have_text("blue")
    expect(cards(page)).not_to_contain_text("Unfamiliar")


def test_text_file_is_refused_and_the_next_picture_answered(page: Page, url: str) -> None:
    problem = web.post(f"{url}/predict", content=b"just words").json()
    choose(page, b"just words")
    expect(headline(page)).to_have_text(problem["title"])
    expect(cards(page)).to_contain_text(problem["detail"])
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


def test_error_page_of_a_proxy_is_told_from_a_lost_connection(page: Page) -> None:
    page.route("**/predict?*", lambda route: route.fulfill(status=413, body="<h1>Too Large</h1>"))
    choose(page, picture("blue"))
    expect(headline(page)).to_have_text("Error 413")
    expect(cards(page)).to_contain_text("A proxy answered in place of the service.")


@pytest.mark.parametrize("name", ["cat.jpg", 'it\'s a "cat"; $(false) `false` \\ & é.jpg'])
def test_copied_command_gives_the_same_answer(page: Page, tmp_path: Path, name: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (tmp_path / name).write_bytes(picture("blue"))
    page.get_by_label("Choose pictures").set_input_files(tmp_path / name)
    assert answer_of_copied_command(page, tmp_path)[0]["label"] == "blue"


def test_copied_command_fetches_the_sample(page: Page, tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Sample: ship").click()
    expect(cards(page)).to_have_attribute("data-state", "answer")
    best = answer_of_copied_command(page, tmp_path)[0]
    expect(headline(page)).to_have_text(best["label"])
    expect(cards(page)).to_contain_text(f"{best['probability']:.1%} sure")


def answer_of_copied_command(page: Page, folder: Path) -> list[dict[str, Any]]:
    """Runs what the button copies, in a shell; returns the predictions."""
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, check=True, timeout=30
    )
    predictions: list[dict[str, Any]] = json.loads(done.stdout)["predictions"]
    return predictions


def test_command_is_selected_where_there_is_no_clipboard(page: Page, url: str) -> None:
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    choose(page, picture("blue"))
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_text("Selected: copy it with Ctrl+C")).to_be_visible()
    selected = page.evaluate("getSelection().toString()")
    assert selected == f"curl --data-binary @0.png {url}/predict"


def test_key_is_asked_for_and_named_in_the_command(
    browser: Browser, server: Callable[..., Server], tiny_models: Path
) -> None:
    guarded = {"api_keys": "a-long-enough-key", "models": tiny_models, "model": "tiny"}
    with server(**guarded) as running, browser.new_context() as context:
        page = context.new_page()
        page.goto(running.url)
        key = page.get_by_label("This service asks for an API key")
        model = page.get_by_role("region", name="The model", exact=True)
        expect(key).to_be_visible()
        expect(model).to_be_hidden()
        choose(page, picture("blue"))
        expect(headline(page)).to_have_text("Unauthorized")
        key.fill("a-wrong-long-key")
        key.press("Enter")
        expect(cards(page)).to_contain_text("The API key is not known here")
        key.fill("a-long-enough-key")
        key.press("Enter")
        expect(headline(page)).to_have_text("blue")
        expect(key).to_be_hidden()
        expect(model).to_be_visible()
        page.get_by_role("button", name="Copy as curl").click()
        command = cards(page).locator("code").inner_text()
    assert command.startswith('curl -H "X-API-Key: YOUR_KEY" --data-binary @0.png ')


def test_card_of_the_model_is_shown_with_its_reliability(page: Page) -> None:
    model = page.get_by_role("region", name="The model", exact=True)
    expect(model).to_contain_text("91.25% of 1,200 test pictures")
    expect(model).to_contain_text("red, green, blue")
    points = model.get_by_role("img").locator("circle")
    expect(points).to_have_count(2)
    small, large = (point.bounding_box() for point in points.all())
    assert small is not None
    assert large is not None
    assert small["x"] < large["x"]
    assert small["y"] > large["y"]
    assert large["width"] ** 2 == pytest.approx(5 * small["width"] ** 2, rel=0.01)
    model.get_by_text("The figures").click()
    rows = model.get_by_role("row").all_inner_texts()
    assert [row.split() for row in rows[1:]] == [
        ["42.0%", "50.0%", "200"],
        ["95.0%", "99.5%", "1,000"],
    ]


@pytest.fixture(scope="module")
def several(
    server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service with the default model `tiny` and with `fruit & nuts`, whose classes are others."""
    models = tmp_path_factory.mktemp("several")
    write_model(models)
    write_model(models, "fruit & nuts", 1, labels=["apple", "pear", "plum"])
    write_model(models, "fruit & nuts", 4, size=(4, 4), labels=["apple", "lime", "sloe"])
    with server(models=models, model="tiny", served="*,fruit & nuts@all") as running:
        yield running


def test_single_model_is_no_choice(page: Page) -> None:
    expect(page.get_by_role("region", name="The model", exact=True)).to_be_visible()
    expect(page.get_by_label("Model", exact=True)).to_be_hidden()


def test_chosen_model_answers_and_its_command_too(
    browser: Browser, several: Server, tmp_path: Path
) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        page.goto(several.url)
        chooser = page.get_by_label("Model", exact=True)
        expect(chooser.locator("option")).to_have_text(
            ["tiny · version 1", "fruit & nuts · version 4", "fruit & nuts · version 1"]
        )
        (tmp_path / "0.png").write_bytes(picture("blue"))
        choose(page, picture("blue"))
        expect(headline(page)).to_have_text("blue")
        for choice, label, input_ in (("version 4", "sloe", 4), ("version 1", "plum", 8)):
            chooser.select_option(f"fruit & nuts · {choice}")
            expect(headline(page)).to_have_text(label)
            expect(page.get_by_role("banner")).to_contain_text(f"fruit & nuts · {choice} · CPU")
            model = page.get_by_role("region", name="The model", exact=True)
            expect(model).to_contain_text(f"apple, {'lime' if input_ == 4 else 'pear'}, {label}")
            expect(cards(page)).to_contain_text(f"{input_}\u00a0{TIMES}\u00a0{input_} pixels")
            bars = page.get_by_role("list", name="Probabilities").get_by_role("listitem")
            expect(bars).to_have_count(3)
            assert answer_of_copied_command(page, tmp_path)[0]["label"] == label
            check_accessibility(page)
        page.get_by_role("button", name="Sample: cat").click()
        expect(headline(page)).to_have_text("apple")
        page.set_viewport_size({"width": 320, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_choice_outlives_a_change_of_the_models_and_a_lost_one_falls_back(
    browser: Browser, several: Server
) -> None:
    health = web.get(f"{several.url}/health").json()
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/health", lambda route: route.fulfill(json=health))
        page.goto(several.url)
        chooser = page.get_by_label("Model", exact=True)
        chooser.select_option("fruit & nuts · version 4")
        health["models"].append(health["models"].pop(0) | {"model": "late", "version": "1"})
        health["models"].insert(0, health["models"][-1] | {"model": "fruit & nuts", "version": "5"})
        choose(page, picture("blue"))
        expect(page.get_by_role("banner")).to_contain_text("fruit & nuts · version 5")
        del health["models"][:2]
        choose(page, picture("blue"))
        expect(page.get_by_role("banner")).to_contain_text("tiny · version 1")


@pytest.fixture(scope="module")
def degraded(
    server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service with one model, which has a label set, and with one that cannot be loaded."""
    models = tmp_path_factory.mktemp("degraded")
    path = write_model(models, label_sets={"0.95": [0.01, 0.9, 0.01]}) / "card.json"
    figures = {"coverage": 0.951, "mean_size": 1.24}
    card = json.loads(path.read_text()) | MEASURED
    card["label_sets"] = {"model.onnx": {"test": {"0.95": figures}}}
    path.write_text(json.dumps(card))
    (write_model(models, "broken") / "model.onnx").write_bytes(b"damaged")
    with server(models=models, model="tiny") as running:
        yield running


def test_model_that_failed_is_named_with_its_reason(browser: Browser, degraded: Server) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(degraded.url)
        expect(page.get_by_role("banner")).to_contain_text("degraded: broken: ")
        expect(page.get_by_label("Model", exact=True)).to_be_hidden()
        choose(page, picture("blue"))
        expect(headline(page)).to_have_text("blue")


def test_model_without_figures_says_so(browser: Browser, several: Server) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(several.url)
        model = page.get_by_role("region", name="The model", exact=True)
        expect(model).to_contain_text("not measured")
        expect(model.get_by_role("img")).to_be_hidden()


def test_classes_of_a_label_set_are_named_where_there_are_several(
    browser: Browser, degraded: Server
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(degraded.url)
        model = page.get_by_role("region", name="The model", exact=True)
        expect(model).to_contain_text("1.24 classes on average, the right one among them in 95.1%")
        choose(page, picture("red"))
        expect(cards(page).first).to_contain_text("red or blue: one of these in 95% of pictures")
        choose(page, picture("black"))
        expect(headline(page)).to_have_text("red")
        expect(cards(page).first).to_contain_text("red or blue: one of these")
        choose(page, picture("lime"))
        expect(cards(page).first).to_contain_text("green, red or blue: one of these")


def test_degraded_provider_is_named(page: Page) -> None:
    health = web.get(f"{page.url}health").json()
    health |= {"status": "degraded", "requested_provider": "CUDAExecutionProvider"}
    page.route("**/health", lambda route: route.fulfill(json=health))
    page.reload()
    expect(page.get_by_role("banner")).to_contain_text("CPU, degraded: CUDA was asked for")


@pytest.mark.parametrize("width", [320, 360])
def test_answers_fit_and_come_into_view_on_a_phone(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    choose(page, picture("black"))
    expect(headline(page)).to_be_in_viewport()
    page.get_by_role("button", name="Copy as curl").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    choose(page, picture("black"), b"-")
    expect(page.get_by_role("status").first).to_contain_text("1 failed")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_state_is_accessible(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    paper = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    brightness = int(paper.removeprefix("rgb(").split(",")[0])
    assert brightness > 200 if scheme == "light" else brightness < 50
    expect(page.get_by_role("region", name="The model", exact=True)).to_be_visible()
    check_accessibility(page)
    choose(page, picture("black"), b"-", picture("blue"))
    expect(page.get_by_role("status").first).to_contain_text("2 of 3")
    page.get_by_role("button", name="Copy as curl").first.click()
    page.get_by_text("The figures").click()
    page.locator("#key-form").evaluate("form => (form.hidden = false)")
    check_accessibility(page)


def check_accessibility(page: Page) -> None:
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()

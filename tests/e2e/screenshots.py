"""Takes the pictures for the READMEs.

python -m tests.e2e.screenshots [REPORT]

The page with the cat classified, its choice among several models, a query of the dashboard in
Prometheus (where that is installed) under a little load, and, when a run's `report.html` is named,
a part of that.
"""

import itertools
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import httpx2
from playwright.sync_api import Browser, sync_playwright

from tests.e2e import chromium, prometheus
from tests.e2e.serving import ROOT, shipped

IMAGES = ROOT / ".github" / "images"
DASHBOARD = ROOT / "docker" / "monitoring" / "grafana" / "dashboards" / "cifar10-serve.json"
PANEL = "Latency by stage, 99 of 100"
LOAD_S = 60
PAUSE_S = 0.01
MARGIN = 12


def main() -> None:
    """Takes the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, chromium.launch(playwright) as browser:
        photograph_page(browser)
        photograph_chooser(browser)
        if prometheus.installed:
            photograph_metrics(browser)
        for report in sys.argv[1:]:
            photograph_report(browser, Path(report))


def photograph_page(browser: Browser) -> None:
    """Photographs the page of the repository's model, large enough for sharp screens."""
    with shipped() as url:
        page = browser.new_page(viewport={"width": 1000, "height": 400}, device_scale_factor=1.5)
        page.goto(url)
        cat = ROOT / "tests" / "data" / "cat.jpg"
        page.get_by_label("Choose pictures").set_input_files(cat)
        page.get_by_role("progressbar").first.wait_for()
        page.get_by_role("region", name="The model", exact=True).wait_for()
        page.screenshot(path=IMAGES / "page.png", full_page=True)


def photograph_chooser(browser: Browser) -> None:
    """Photographs the page of a service with two models, the second of which is chosen."""
    with tempfile.TemporaryDirectory() as folder:
        shipped_models = ROOT / "models" / "cifar10"
        shutil.copytree(shipped_models, Path(folder, "cifar10"))
        shutil.copytree(shipped_models / "1", Path(folder, "baseline", "1"))
        with shipped(Path(folder)) as url:
            page = browser.new_page(
                viewport={"width": 1000, "height": 640}, device_scale_factor=1.5
            )
            page.goto(url)
            page.get_by_label("Model", exact=True).select_option("baseline · version 1")
            page.get_by_label("Choose pictures").set_input_files(
                ROOT / "tests" / "data" / "cat.jpg"
            )
            page.get_by_role("progressbar").first.wait_for()
            page.screenshot(path=IMAGES / "chooser.png")


def photograph_metrics(browser: Browser) -> None:
    """Photographs a query of the dashboard while small pictures and photographs arrive."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    (query,) = (panel["targets"][0]["expr"] for panel in panels if panel["title"] == PANEL)
    graph = {
        "g0.expr": query.replace("$__rate_interval", "10s"),
        "g0.tab": "0",
        "g0.range_input": f"{LOAD_S - 15}s",
        "g0.step_input": "1",
    }
    with (
        shipped() as url,
        tempfile.TemporaryDirectory() as folder,
        prometheus.watching(url, Path(folder), interval="1s") as watcher,
    ):
        send_pictures(url)
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.goto(f"{watcher.url}/graph?{urlencode(graph)}")
        page.locator(".rickshaw_graph path").first.wait_for()
        box = page.locator("#graph_wrapper0").bounding_box()
        assert box is not None
        page.screenshot(
            path=IMAGES / "metrics.png",
            full_page=True,
            clip={"x": 0, "y": box["y"] - MARGIN, "width": 1000, "height": box["height"] + MARGIN},
        )


def send_pictures(url: str) -> None:
    """Sends one picture after the other for a minute, most of them small."""
    files = [ROOT / "tests" / "data" / "cat.jpg", *ROOT.glob("tests/data/cifar10/test/*/*.jpg")]
    deadline = time.monotonic() + LOAD_S
    with httpx2.Client() as client:
        for file in itertools.cycle(files):
            client.post(f"{url}/predict", content=file.read_bytes()).raise_for_status()
            if time.monotonic() > deadline:
                return
            time.sleep(PAUSE_S)


def photograph_report(browser: Browser, report: Path) -> None:
    """Photographs a report from its reliability diagrams to the photographs."""
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.goto(report.resolve().as_uri())
    start, end = (
        page.get_by_role("heading", name=name).bounding_box()
        for name in ("Reliability", "Photographs")
    )
    assert start is not None
    assert end is not None
    page.screenshot(
        path=IMAGES / "report.png",
        full_page=True,
        clip={"x": 0, "y": start["y"] - MARGIN, "width": 900, "height": end["y"] - start["y"]},
    )


if __name__ == "__main__":
    main()

"""Takes the pictures for the README.

python -m tests.e2e.screenshots [REPORT]

The page with the cat classified, and, when a run's `report.html` is named, a part of that.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.e2e import chromium
from tests.e2e.conftest import Server

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / ".github" / "images"
SETTINGS = {"CIFAR10_PORT": "0", "CIFAR10_PROVIDER": "cpu", "CIFAR10_LOG_FORMAT": "json"}


def main() -> None:
    """Takes the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, chromium.launch(playwright) as browser:
        photograph_page(browser)
        for report in sys.argv[1:]:
            photograph_report(browser, Path(report))


def photograph_page(browser: Browser) -> None:
    """Serves the repository's model and photographs its page, large enough for sharp screens."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, env=os.environ | SETTINGS, stderr=log
        )
        with Server(process, Path(log.name)) as server:
            page = browser.new_page(
                viewport={"width": 1000, "height": 400}, device_scale_factor=1.5
            )
            page.goto(server.wait_until_ready().url)
            cat = ROOT / "tests" / "data" / "cat.jpg"
            page.get_by_label("Choose pictures").set_input_files(cat)
            page.get_by_role("progressbar").first.wait_for()
            page.get_by_role("region", name="The model", exact=True).wait_for()
            page.screenshot(path=IMAGES / "page.png", full_page=True)


def photograph_report(browser: Browser, report: Path) -> None:
    """Photographs a report from its reliability diagrams to the pictures of other things."""
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.goto(report.resolve().as_uri())
    start, end = (
        page.get_by_role("heading", name=name).bounding_box() for name in ("Reliability", "other")
    )
    assert start is not None
    assert end is not None
    page.screenshot(
        path=IMAGES / "report.png",
        full_page=True,
        clip={"x": 0, "y": start["y"] - 16, "width": 900, "height": end["y"] - start["y"]},
    )


if __name__ == "__main__":
    main()

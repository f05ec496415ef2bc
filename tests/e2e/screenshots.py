"""Takes the picture for the README: `python -m tests.e2e.screenshots`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e import chromium
from tests.e2e.conftest import Server

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / ".github" / "images" / "page.png"
SETTINGS = {"CIFAR10_PORT": "0", "CIFAR10_PROVIDER": "cpu", "CIFAR10_LOG_FORMAT": "json"}


def main() -> None:
    """Serves the repository's model and photographs the page with the cat classified."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, env=os.environ | SETTINGS, stderr=log
        )
        with Server(process, Path(log.name)) as server:
            photograph(server.wait_until_ready().url)


def photograph(url: str) -> None:
    """Writes the picture of the page at `url`, large enough for sharp screens."""
    with sync_playwright() as playwright, chromium.launch(playwright) as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 400}, device_scale_factor=1.5)
        page.goto(url)
        page.get_by_label("Choose a picture").set_input_files(ROOT / "tests" / "data" / "cat.jpg")
        page.get_by_role("progressbar").first.wait_for()
        OUTPUT.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=OUTPUT, full_page=True)


if __name__ == "__main__":
    main()

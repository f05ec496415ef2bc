"""Debian's Chromium without its background traffic: it sends what a page sends, nothing else."""

import shutil

from playwright.sync_api import Browser, Playwright

EXECUTABLE = shutil.which("chromium")

_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launch(playwright: Playwright, *options: str) -> Browser:
    """Starts the browser without a window, with more options of its command line if any."""
    return playwright.chromium.launch(executable_path=EXECUTABLE, args=[*_OPTIONS, *options])

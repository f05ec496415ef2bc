"""Debian's Chromium, told to stay quiet: no request of its own leaves the machine."""

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


def launch(playwright: Playwright) -> Browser:
    """Starts the browser without a window."""
    return playwright.chromium.launch(executable_path=EXECUTABLE, args=_OPTIONS)

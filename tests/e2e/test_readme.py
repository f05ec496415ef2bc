"""What the README promises, word for word."""

import io
import re
import subprocess
import sys

from PIL import Image

from tests.e2e import readme, web
from tests.e2e.serving import ROOT, shipped


def test_three_lines_classify_without_a_server() -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (snippet,) = [code for code in snippets if "from service.inference.classifier import" in code]
    assert len([line for line in snippet.splitlines() if line]) == 3
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[Prediction(label='cat', class_id=3, probability=0.")


def test_answers_are_those_that_it_shows() -> None:
    text = readme.README.read_text()
    wrong = text.replace('"label":"cat"', '"label":"dog"').replace("# 3 [", "# 5 [")
    assert wrong.count("dog") > 2
    with shipped() as url:
        fresh = readme.refresh(wrong, url)
    assert settled(fresh) == settled(text), "python -m tests.e2e.readme writes them again"


def test_what_shows_a_promise_is_there() -> None:
    text = readme.README.read_text()
    (section,) = re.findall(r"^## What it promises\n(.*?)^## ", text, re.M | re.S)
    rows = re.findall(r"^\| (.+?) \| (.+?) \| .* ?\|$", section, re.M)[2:]
    assert len(rows) > 10
    makefile = (ROOT / "Makefile").read_text()
    for _, shown_by in rows:
        for name in re.findall("`(.+?)`", shown_by):
            target = name.removeprefix("make ")
            assert (ROOT / name).is_file() or f"\n{target}: " in makefile, name


def test_troubleshooting_quotes_what_the_service_says() -> None:
    large = io.BytesIO()
    Image.new("1", (10_000, 5_001)).save(large, "PNG")
    with shipped() as url:
        refused = [
            web.post(f"{url}/predict", content=bytes(20_000_001)),
            web.post(f"{url}/predict", content=large.getvalue()),
            web.post(f"{url}/predict/batch", files=[("files", b"x")] * 65),
        ]
        port = url.rpartition(":")[2]
        second = subprocess.run(
            [sys.executable, "-m", "service", "--port", port],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
    said = [f"{answer.status_code} `{answer.json()['detail']}`" for answer in refused]
    text = readme.README.read_text()
    for message in (*said, f"`{second.stderr.strip().replace(port, '8000')}`"):
        assert message in text


def settled(text: str) -> str:
    """The text without what may differ between processors: fractions and all but the best class."""
    text = re.sub(r'("predictions":\[\{[^}]*\})[^]]*\]', r"\1]", text)
    text = re.sub(r"^(\S+\.jpg +\w+ ).*%$", r"\1", text, flags=re.M)
    return re.sub(r"\d+\.\d+", "#", text)

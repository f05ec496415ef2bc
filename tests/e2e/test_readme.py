"""What the README promises, word for word."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_three_lines_classify_without_a_server() -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (snippet,) = [code for code in snippets if "from service.classifier import" in code]
    assert len([line for line in snippet.splitlines() if line]) == 3
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[Prediction(label='cat', class_id=3, probability=0.")

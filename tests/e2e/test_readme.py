"""What the READMEs promise, word for word."""

import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from service.http.problems import BY_REASON
from service.settings import Settings
from tests.e2e import readme, web
from tests.e2e.serving import ROOT, shipped

DOCUMENTS = readme.documents()
SERVICE = ROOT / "service" / "README.md"
CODE = re.compile(r"`[^`\n]+`")
every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def section(document: Path, heading: str) -> str:
    """What stands under a heading of the second level."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", document.read_text(), re.M | re.S)
    return str(text)


def test_three_lines_classify_without_a_server() -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", SERVICE.read_text(), re.M | re.S)
    (snippet,) = [code for code in snippets if "import Classifier" in code]
    assert len([line for line in snippet.splitlines() if line]) == 3
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[Prediction(label='cat', class_id=3, probability=0.")


def test_front_page_and_folders_show_answers() -> None:
    shown = {
        str(document.relative_to(ROOT))
        for document in DOCUMENTS
        if readme.shows_answers(document.read_text())
    }
    assert shown >= {"README.md", "service/README.md", "service/CLIENTS.md", "models/README.md"}


@every_document
def test_answers_are_those_that_a_document_shows(document: Path) -> None:
    text = document.read_text()
    if not readme.shows_answers(text):
        assert readme.refresh(text, "http://nowhere.invalid") == text
        return
    wrong = text.replace('"label":"cat"', '"label":"dog"').replace("# 3 [", "# 5 [")
    wrong = re.sub(r"\d\d\.\d\d% \(test\)", "10.00% (test)", wrong)
    assert wrong != text
    with readme.served(text) as url:
        fresh = readme.refresh(wrong, url)
    assert settled(fresh) == settled(text), "python -m tests.e2e.readme writes them again"


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    assert readme.dead_links(document, document.read_text()) == []


@pytest.mark.parametrize("link", ["no/such/file.md", "#no-such-heading", "README.md#nor-this"])
def test_dead_link_is_found(link: str) -> None:
    text = f"## A heading\n[1](#a-heading) [2](LICENSE) [3]({link}) [4](http://nowhere.invalid)"
    assert readme.dead_links(ROOT / "CHANGELOG.md", text) == [link]


@every_document
def test_commands_exist(document: Path) -> None:
    text = document.read_text()
    makefile = (ROOT / "Makefile").read_text()
    modules = re.findall(r"python -m ([a-z_.0-9]+)", text)
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    targets = re.findall(r"(?:`|^\$ |=\S+ )make ([a-z-]+)", text, re.M)
    assert [name for name in targets if f"\n{name}: " not in makefile] == []


def test_front_page_is_short_and_links_to_every_document() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    linked = [path.relative_to(ROOT) for path in DOCUMENTS if path.parent.name != "samples"]
    linked.remove(Path("README.md"))
    assert len(linked) >= 9
    assert [document for document in linked if f"({document})" not in text] == []


def test_every_setting_is_described() -> None:
    table = section(SERVICE, "Settings")
    names = [f"`CIFAR10_{name.upper()}`" for name in Settings.model_fields]
    assert [name for name in names if name not in table] == []


def test_every_type_of_problem_is_described() -> None:
    text = section(SERVICE, "API")
    of_protocols = {"invalid-inference-request"}  # V1 and V2 have errors of their own form
    assert {f"`{reason}`" for reason in BY_REASON.keys() - of_protocols} <= set(CODE.findall(text))


def test_settings_that_compose_sets_are_described() -> None:
    """They have no effect in .env, or another one."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    names = {name for it in ("gpu", "cpu", "instance") for name in services[it]["environment"]}
    described = set(CODE.findall(section(ROOT / "docker" / "README.md", "Compose")))
    assert {f"`{name}`" for name in names} <= described


def test_files_are_where_they_are_said_to_be() -> None:
    table = section(SERVICE, "Source files")
    named = re.findall(r"`([\w/]+(?:\.py|/))`", table)
    assert len(named) > 30
    assert [name for name in named if not (SERVICE.parent / name).exists()] == []
    packages = {
        f"{path.parent.name}/" for path in SERVICE.parent.glob("*/__init__.py")
    }  # those of http/routes/ stand under http/
    assert packages <= set(named)


def test_every_file_of_the_training_is_in_the_table() -> None:
    folder = ROOT / "training"
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", section(folder / "README.md", "Source files")))
    assert [name for name in named if not (folder / name).exists()] == []
    files = {path.relative_to(folder) for path in folder.rglob("*.py")}
    rest = {path for path in files if path.name != "__init__.py" and str(path) not in named}
    assert [path for path in rest if not named & {f"{parent}/" for parent in path.parents}] == []


def test_what_shows_a_promise_is_there() -> None:
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \| .* ?\|$", section(SERVICE, "Guarantees"), re.MULTILINE
    )[2:]
    assert len(rows) > 10
    makefile = (ROOT / "Makefile").read_text()
    for _, shown_by in rows:
        for name in re.findall("`(.+?)`", shown_by):
            target = name.removeprefix("make ")
            assert (ROOT / name).is_file() or f"\n{target}: " in makefile, name


def test_troubleshooting_quotes_what_the_service_says() -> None:
    large = io.BytesIO()
    Image.new("1", (10_000, 7_000)).save(large, "PNG")
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
    text = section(SERVICE, "Troubleshooting")
    for message in (*said, f"`{second.stderr.strip().replace(port, '8000')}`"):
        assert message in text


def settled(text: str) -> str:
    """The text without what may differ between processors: fractions and all but the best class.

    Sizes in MB and percentages are figures of the model cards: they stay.
    """
    text = re.sub(r'("predictions":\[\{[^}]*\})[^]]*\]', r"\1]", text)
    text = re.sub(r"^(\S+\.jpg +\w+ ).*%$", r"\1", text, flags=re.M)
    return re.sub(r"\d+\.\d+(?!\d| MB|%)", "#", text)

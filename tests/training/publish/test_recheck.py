import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import FOLDERS, change_card
from training.errors import TrainingError
from training.measure import photographs
from training.publish import answers, artifact, recheck, repository
from training.publish.artifact import Artifact, sha256
from training.publish.unmeasured import REASONS
from training.train.checkpoint import Run

PHOTOGRAPHS = FOLDERS / "test", FOLDERS / "train" / "ship"


@pytest.fixture
def published(trained: Run, tmp_path: Path) -> Artifact:
    """The trained network, published in a repository of its own at `tmp_path`."""
    return Artifact(repository.publish(artifact.of_run(trained.folder), tmp_path))


def test_right_figures_pass_and_it_is_said_what_is_not_measured(
    published: Artifact, tmp_path: Path
) -> None:
    lines = recheck.recheck(tmp_path, FOLDERS)
    figures, (others, *unmeasured) = lines[:6], lines[6:]
    assert all(line.endswith(", as its card says") for line in figures)  # three files, two splits
    assert others == (
        f"{published.card}: reliability, robustness, unfamiliar, agreement, cost: as the card says"
    )
    stated = ["training", "parity", "latency", "test_readings"]
    assert unmeasured == [
        f"{published.card}: {key}: not measured again, {REASONS[key]}" for key in stated
    ]


def test_photographs_are_measured_again_where_they_are_named(
    published: Artifact, tmp_path: Path
) -> None:
    card = published.read_card()
    seen = photographs.load(
        *PHOTOGRAPHS, card.labels, card.input.height, card.resize, card.closer_look
    )
    measured = answers.on_photographs(published.folder, card, seen)
    published.write_card(card.model_copy(update={"photographs": measured}))
    publish_as_it_is(published)
    lines = recheck.recheck(tmp_path, FOLDERS, seen=PHOTOGRAPHS)
    assert any(line.endswith(", photographs: as the card says") for line in lines)
    assert not any("photographs: not measured again" in line for line in lines)
    change_card(published, more("photographs", "model.int8.onnx", "accuracy", "value"))
    publish_as_it_is(published)
    with pytest.raises(TrainingError, match=r"photographs model\.int8\.onnx accuracy value is"):
        recheck.recheck(tmp_path, FOLDERS, seen=PHOTOGRAPHS)


def test_wrong_figures_are_found_all_at_once(published: Artifact, tmp_path: Path) -> None:
    change_card(published, more("metrics", "model.int8.onnx", "test", "accuracy"))
    change_card(published, more("robustness", "test", "blur", "accuracy"))
    publish_as_it_is(published)
    with pytest.raises(TrainingError) as raised:
        recheck.recheck(tmp_path, FOLDERS)
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"{published.card}: metrics model.int8.onnx test accuracy is ")
    assert second.startswith(f"{published.card}: robustness test blur accuracy is ")


def test_quick_check_measures_the_files_for_processors_on_test_pictures(
    published: Artifact, tmp_path: Path
) -> None:
    lines = recheck.recheck(tmp_path, FOLDERS, thorough=False)
    files = [published.folder / name for name in ("model.onnx", "model.int8.onnx")]
    assert [line.split(" accuracy")[0] for line in lines] == [f"{file}: test" for file in files]
    change_card(published, more("metrics", "model.int8.onnx", "test", "log_loss"))
    publish_as_it_is(published)
    with pytest.raises(TrainingError, match="test log_loss is"):
        recheck.recheck(tmp_path, FOLDERS, thorough=False)


def more(*path: str) -> Callable[[dict[str, Any]], None]:
    """A change that adds 0.05 to a figure of a card."""

    def change(card: dict[str, Any]) -> None:
        for key in path[:-1]:
            card = card[key]
        card[path[-1]] += 0.05

    return change


def publish_as_it_is(found: Artifact) -> None:
    """Record the present bytes of a version, as if it had been published with its faults."""
    record = found.folder.with_name("published.json")
    record.write_text(json.dumps({found.folder.name: repository.digests(found.folder)}))


def fake_latency(found: Artifact) -> None:
    change_card(found, more("latency", "files", "model.onnx", "1", "median"))


def replace_int8_with_its_digest(found: Artifact) -> None:
    int8 = found.folder / "model.int8.onnx"
    int8.write_bytes(found.model.read_bytes())
    change_card(found, lambda card: card["files"][int8.name].update(sha256=sha256(int8)))


def leave_int8_out_of_the_card(found: Artifact) -> None:
    change_card(found, lambda card: card["files"].pop("model.int8.onnx"))


def remove_int8(found: Artifact) -> None:
    (found.folder / "model.int8.onnx").unlink()


def add_a_file(found: Artifact) -> None:
    (found.folder / "other.onnx").touch()


def remove_the_card(found: Artifact) -> None:
    found.card.unlink()


def remove_the_record(found: Artifact) -> None:
    found.folder.with_name("published.json").unlink()


def remove_the_version(found: Artifact) -> None:
    shutil.rmtree(found.folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (fake_latency, r"card\.json: other bytes were published"),
        (replace_int8_with_its_digest, r"(card\.json|model\.int8\.onnx): other bytes were"),
        (leave_int8_out_of_the_card, r"card\.json: other bytes were published"),
        (remove_int8, r"model\.int8\.onnx: was published and is not there"),
        (add_a_file, r"other\.onnx: other bytes were published as this version, or none"),
        (remove_the_card, r"card\.json: was published and is not there"),
        (remove_the_record, "not in the record of published versions"),
        (remove_the_version, "holds no version of a model"),
    ],
)
def test_version_that_was_changed_after_it_was_published_is_found(
    published: Artifact, tmp_path: Path, change: Callable[[Artifact], None], words: str
) -> None:
    change(published)
    with pytest.raises(TrainingError, match=words):
        recheck.recheck(tmp_path, FOLDERS)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("parity",), "parity is .*, and at most 0.0001 is allowed"),
        (("temperature",), "temperature, exponent, certainty: the card has others"),
        (("files", "model.int8.onnx", "temperature"), "its temperature, .* differs from the card"),
    ],
)
def test_card_that_was_published_with_a_fault_is_found(
    published: Artifact, tmp_path: Path, path: tuple[str, ...], words: str
) -> None:
    change_card(published, more(*path))
    publish_as_it_is(published)
    with pytest.raises(TrainingError, match=words):
        recheck.recheck(tmp_path, FOLDERS)

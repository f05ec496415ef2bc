"""Verification of a whole version."""

from pathlib import Path

from service.inference.verification import verify
from tests.service.models import add_variant, write_model


def test_each_file_is_opened_and_the_changed_one_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with add_variant(folder, "int8").open("ab") as file:
        file.write(b"\0")
    add_variant(folder, "float16")
    outcomes = dict(verify(folder))
    assert outcomes["model.onnx"] is outcomes["model.fp16.onnx"] is None
    assert "sha256" in str(outcomes["model.int8.onnx"])


def test_bad_card_is_the_only_outcome(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "card.json").write_text("{}")
    ((file, refusal),) = verify(folder)
    assert file == "card.json"
    assert "is not a model card" in str(refusal)


def test_file_that_contradicts_its_card_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    card = folder / "card.json"
    card.write_text(card.read_text().replace('"red"', '"rot"'))
    ((file, refusal),) = verify(folder)
    assert file == "model.onnx"
    assert "disagree on 'labels'" in str(refusal)

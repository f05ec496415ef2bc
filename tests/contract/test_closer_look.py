"""Training measures the answers that the service gives to pictures with a closer look."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from service.inference.classification import Classification
from service.inference.classifier import Classifier
from tests.contract.test_resizing import FILES
from tests.service.models import write_model
from training.measure import closer_look
from training.measure.closer_look import CloserLook
from training.measure.second_view import SecondView
from training.presets import ResizeMode, ResizeRule

SECOND = SecondView(below=0.9, temperature=0.6)


@pytest.mark.parametrize("mode", get_args(ResizeMode))
@pytest.mark.parametrize("times", [4.0, 11.0])
def test_both_packages_give_the_same_answers(
    mode: ResizeMode, times: float, tmp_path: Path
) -> None:
    look = CloserLook(times=times, share=0.7)
    rule = ResizeRule(mode, "bilinear")
    model = write_model(
        tmp_path / "models",
        size=(16, 16),
        resize={"mode": rule.mode, "filter": rule.filter},
        second_view=SECOND.to_json(),
        closer_look=look.to_json(),
    )
    classifier = Classifier.open(tmp_path / "models", "tiny", provider="cpu")
    found = classifier.classify(list(FILES.values()))
    answers = [answer for answer in found if isinstance(answer, Classification)]
    paths = [tmp_path / name for name in FILES]
    for path, data in zip(paths, FILES.values(), strict=True):
        path.write_bytes(data)
    uploads = closer_look.read(paths, 16, rule, look)
    assert 0 < uploads.close.sum() < len(FILES)
    served = closer_look.as_served(SECOND, model / "model.onnx", uploads)
    np.testing.assert_allclose(
        np.stack([answer.probabilities for answer in answers]), served.probabilities, atol=1e-6
    )
    energies = [answer.energy for answer in answers]
    np.testing.assert_allclose(energies, served.energy, rtol=1e-6)
    whole = closer_look.read(paths, 16, rule, None)
    alone = closer_look.as_served(SECOND, model / "model.onnx", whole)
    differs = np.abs(served.energy - alone.energy) > 1e-4
    np.testing.assert_array_equal(differs, uploads.close)

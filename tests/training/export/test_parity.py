from pathlib import Path

import numpy as np
import onnx
import pytest

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.export import parity
from training.publish import artifact
from training.train.checkpoint import Run


def test_file_with_other_weights_is_refused(trained: Run, sample: DataSet, tmp_path: Path) -> None:
    found = artifact.of_run(trained.folder)
    proto = onnx.load(found.model)
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 4 and values.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * 1.01, tensor.name))
    changed = tmp_path / "model.onnx"
    onnx.save(proto, changed)
    calibration = found.read_card().calibration
    assert parity.verify(trained, found.model, sample.validation.images, calibration) <= 1e-4
    with pytest.raises(TrainingError, match="differs from its Keras network"):
        parity.verify(trained, changed, sample.validation.images, calibration)

import numpy as np

from training.data.dataset import DataSet
from training.measure.predict import predict
from training.publish import artifact
from training.train.checkpoint import Run


def test_batch_size_changes_no_answer(trained: Run, sample: DataSet) -> None:
    model = artifact.of_run(trained.folder).model
    one, many = (predict(model, sample.validation.images, batch=b) for b in (1, 64))
    np.testing.assert_allclose(one.probabilities, many.probabilities, atol=1e-6)

"""The step `publish`; it needs no Keras."""

from pathlib import Path

from training.publish import artifact, readings, repository


def publish_run(folder: Path, models: Path) -> Path:
    """Put the evaluated model of a run folder into the model repository.

    The card counts the readings of the test split until then.

    Returns:
        The folder of the version.

    Raises:
        TrainingError: as in `repository.publish`.
    """
    files = artifact.of_run(folder)
    card = files.read_card()
    if card.test_readings:
        counted = {"test_readings": readings.count(folder)}
        files.write_card(card.model_copy(update=counted))
    return repository.publish(files, models)

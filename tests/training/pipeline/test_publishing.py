import shutil
from pathlib import Path

from training.pipeline import publishing
from training.publish import artifact, readings
from training.publish.artifact import Artifact
from training.publish.card import Readings
from training.train.checkpoint import Run


def test_published_card_counts_the_readings_until_then(trained: Run, tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(trained.folder, tmp_path / name)) for name in "ab"]
    readings.record(folders[1], "evaluate", artifact.of_run(folders[1]).model)
    published = publishing.publish_run(folders[0], tmp_path / "models")
    assert Artifact(published).read_card().test_readings == Readings(run=1, all_runs=3)

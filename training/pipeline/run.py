"""All steps in a row, for one seed or several."""

from collections.abc import Sequence
from pathlib import Path

from training.data.dataset import DataSet
from training.pipeline import evaluate, fitting, steps
from training.presets import Preset
from training.publish import artifact, card, repository
from training.train.checkpoint import Run


def run_all(
    preset: Preset,
    data: DataSet,
    folder: Path | None,
    *,
    models: Path,
    runs: Path,
    name: str,
    seeds: Sequence[int],
    resume: bool = False,
    devices: int = 1,
    photographs: tuple[Path, Path] | None = None,
) -> Path:
    """Train, export, verify and evaluate each seed, its teacher before it; publish the first seed.

    The first seed is published whatever the results of the others are: the others show the spread
    and are not candidates.

    Args:
        preset: the settings of the training.
        data: the splits.
        folder: of the data, with the test split.
        models: the model repository.
        runs: gets a run folder for each seed.
        name: of the model.
        seeds: at least one.
        resume: continue runs that were interrupted.
        devices: number of devices that share each batch.
        photographs: folders of photographs of the classes and of other things, to measure on.

    Returns:
        The folder of the published version.
    """
    done = [Run(runs / f"{preset.name}-seed{seed}") for seed in seeds]
    results = []
    for seed, run in zip(seeds, done, strict=True):
        fitting.fit_with_teacher(
            preset, data, run.folder, seed=seed, resume=resume, devices=devices
        )
        steps.export_run(run, data, models, name)
        print(
            f"  the checkpoint and model.onnx differ by {steps.verify_run(run, data):.1e} at most"
        )
        results.append(evaluate.evaluate_run(run, data, folder, models, photographs))
        for line in evaluate.summary(results[-1]):
            print(f"  {line}")
    first = artifact.of_run(done[0].folder)
    if len(results) > 1:
        served = [
            {split: one.as_served for split, one in result.items() if one.as_served}
            for result in results
        ]
        spreads = {"seeds": card.spread(seeds, results)}
        if all(len(one) == len(results[0]) for one in served):
            spreads["seeds_as_served"] = card.spread(seeds, served)
        for key, spread in spreads.items():
            views = "one view" if key == "seeds" else "with second views"
            for split, figures in spread.items():
                print(f"  {split}, {views}: accuracy {figures.text()}")
        first.write_card(first.read_card().model_copy(update=spreads))
    return repository.publish(first, models)

"""All steps in a row, for one seed or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.export import closer_look
from training.measure import photographs
from training.pipeline import evaluate, fitting, publishing, steps
from training.presets import Preset
from training.publish import artifact, repository, seeds
from training.publish.artifact import Artifact, sha256
from training.publish.card import Card, ExportedCard
from training.train.checkpoint import Run


@dataclass(frozen=True)
class Plan:
    """What is trained and published.

    Attributes:
        preset: the settings of the training.
        data: the splits.
        folder: of the data, with the test split.
        models: the model repository.
        runs: gets a run folder for each seed.
        name: of the model.
        seeds: at least one; the first is published.
        resume: continue runs that were interrupted.
        devices: number of devices that share each batch.
        photographs: folders of photographs of the classes and of other things, to measure on.
    """

    preset: Preset
    data: DataSet
    folder: Path | None
    models: Path
    runs: Path
    name: str
    seeds: Sequence[int]
    resume: bool = False
    devices: int = 1
    photographs: tuple[Path, Path] | None = None


def run_all(plan: Plan) -> Path:
    """Train, export, verify and evaluate each seed, its teacher before it; publish the first seed.

    The first seed is published whatever the results of the others are: the others show the spread
    and are not candidates. It is evaluated last, so that its card and its report have the spread.
    What is exported or evaluated of the same checkpoint already is not done again.

    Returns:
        The folder of the published version.

    Raises:
        TrainingError: the first seed is published already, or a step fails.
    """
    every = [Run(plan.runs / f"{plan.preset.name}-seed{seed}") for seed in plan.seeds]
    _check(plan, every[0])
    for seed, run in zip(plan.seeds, every, strict=True):
        fitting.fit_with_teacher(
            plan.preset, plan.data, run.folder,
            seed=seed, resume=plan.resume, devices=plan.devices,
        )  # fmt: skip
        _export(plan, run, next_version=run is every[0])
    others = [_evaluate(plan, run) for run in every[1:]]
    card = _evaluate(plan, every[0], others)
    for file, splits in (card.seeds_as_served or {}).items():
        for split, spread in splits.items():
            print(f"  {file}, {split}, as served: accuracy {spread.accuracy.text()}")
    return publishing.publish_run(every[0].folder, plan.models)


def _check(plan: Plan, first: Run) -> None:
    """See before hours of training that the first seed can be measured and published."""
    preset, data = plan.preset, plan.data
    if plan.photographs:
        look = closer_look.choose(preset, data.facts())
        photographs.load(*plan.photographs, data.classes, preset.image_size, preset.resize, look)
    files = artifact.of_run(first.folder)
    if card := _exported(files):
        published = Artifact(plan.models / card.name / str(card.version))
        if published.model.exists() and sha256(published.model) == sha256(files.model):
            raise TrainingError(
                f"{first.folder}: published already, as {published.folder}; train another seed, or "
                "publish it once more by `export` and the steps after it"
            )


def _export(plan: Plan, run: Run, *, next_version: bool) -> None:
    card = _verified(plan, run)
    version = repository.next_version(plan.models, plan.name)
    if card and (card.version == version or not next_version):
        print("  exported and verified already")
        return
    steps.export_run(run, plan.data, plan.models, plan.name)
    difference = steps.verify_run(run, plan.data)
    print(f"  the checkpoint and model.onnx differ by {difference:.1e} at most")


def _verified(plan: Plan, run: Run) -> ExportedCard | None:
    """The card of verified files of the run's checkpoint; None where there are none."""
    card = _exported(artifact.of_run(run.folder))
    if card is None or (card.name, card.training.checkpoint) != (plan.name, sha256(run.checkpoint)):
        return None
    return None if card.parity is None else card


def _exported(files: Artifact) -> ExportedCard | None:
    """The card of whole files; None where there are none, as after an export that was cut off."""
    try:
        return files.read_exported()
    except TrainingError:
        return None


def _evaluate(plan: Plan, run: Run, others: Sequence[Card] = ()) -> Card:
    """The card with all figures, for the published seed with the spread to the others."""
    print(f"{run.folder}:")
    card = _verified(plan, run)
    if (
        isinstance(card, Card)
        and (not others or seeds.spreads([card, *others]) == (card.seeds, card.seeds_as_served))
        and (card.photographs or not plan.photographs)
    ):
        print("  evaluated already")
        return card
    evaluations = evaluate.evaluate_run(
        run, plan.data, plan.folder, plan.models, plan.photographs, others
    )
    for line in evaluate.summary(evaluations):
        print(f"  {line}")
    return artifact.of_run(run.folder).read_card()

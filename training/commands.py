"""What each command of the command line does, with its parsed options."""

import argparse
from dataclasses import replace
from pathlib import Path

from training.errors import TrainingError
from training.presets import PRESETS, Preset

# Keras takes seconds to import, so each command imports what it needs when it runs.


def _start() -> None:
    from training.train import backend

    print(backend.start())


def _preset(args: argparse.Namespace) -> Preset:
    preset = PRESETS[args.preset]
    return replace(
        preset,
        image_size=args.image_size or preset.image_size,
        epochs=args.epochs or preset.epochs,
    )


def _photograph_folders(args: argparse.Namespace) -> tuple[Path, Path] | None:
    if not args.photographs and not args.other:
        return None
    if not args.photographs or not args.other:
        raise TrainingError("name both folders, with --photographs and --other")
    return args.photographs, args.other


def run(args: argparse.Namespace) -> None:
    """Fit, export, verify, evaluate and publish."""
    from training.data import dataset

    preset = _preset(args)
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start()
    from training.pipeline import steps
    from training.pipeline.run import Plan, run_all

    name = args.name or steps.model_name(data, args.data)
    seeds = range(args.seed, args.seed + args.seeds)
    plan = Plan(
        preset, data, args.data, args.models, args.runs / name, name, seeds,
        resume=args.resume, devices=args.devices, photographs=_photograph_folders(args),
    )  # fmt: skip
    published = run_all(plan)
    print(f"published {published}; a service loads it on SIGHUP, or at its next start")


def fit(args: argparse.Namespace) -> None:
    """Train a preset, and its teacher before it."""
    from training.data import dataset

    preset = _preset(args)
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start()
    from training.pipeline import fitting

    if args.pictures:
        data = dataset.first(data, args.pictures)
    fitting.fit_with_teacher(
        preset, data, args.run, seed=args.seed, resume=args.resume, devices=args.devices
    )


def export(args: argparse.Namespace) -> None:
    """Write the ONNX files and their card."""
    _start()
    from training.pipeline import steps
    from training.train.checkpoint import Run

    run = Run(args.run)
    data = steps.load_for(run, args.data)
    name = args.name or steps.model_name(data, args.data)
    found = steps.export_run(run, data, args.models, name)
    for file in found.read_exported().files:
        print(f"wrote {found.folder / file}")


def verify(args: argparse.Namespace) -> None:
    """Check that model.onnx gives the answers of the checkpoint."""
    _start()
    from training.pipeline import steps
    from training.train.checkpoint import Run

    run = Run(args.run)
    difference = steps.verify_run(run, steps.load_for(run, args.data))
    print(f"the checkpoint and model.onnx differ by {difference:.1e} at most")


def evaluate(args: argparse.Namespace) -> None:
    """Measure the ONNX files and write report.html."""
    _start()
    from training.pipeline import evaluate, steps
    from training.train.checkpoint import Run

    run = Run(args.run)
    data = steps.load_for(run, args.data)
    evaluations = evaluate.evaluate_run(
        run, data, args.data, args.models, _photograph_folders(args)
    )
    print(*evaluate.summary(evaluations), f"report: {run.folder / 'report.html'}", sep="\n")


def publish(args: argparse.Namespace) -> None:
    """Copy the ONNX files into the model repository."""
    from training.pipeline import publishing

    print(f"published {publishing.publish_run(args.run, args.models)}")


def verify_models(args: argparse.Namespace) -> None:
    """Measure the figures of all published cards again."""
    from training.publish import recheck

    lines = recheck.recheck(args.models, args.data, seen=_photograph_folders(args))
    print(*lines, sep="\n")


def compare(args: argparse.Namespace) -> None:
    """Compare exported models, and test which is better."""
    from training.study import compare

    contenders = [compare.find(what, args.models) for what in dict.fromkeys(args.what)]
    test = None if args.split is None else args.split == "test"
    comparison = compare.compare(contenders, args.data, test=test)
    print(f"{comparison.split} split, {comparison.pictures:,} pictures")
    for heading, table in compare.tables(comparison).items():
        print(f"\n{heading}\n{table.to_string()}")
    page = compare.write(comparison, args.runs / "compare")
    print("", *comparison.pairs, f"page: {page}", sep="\n")


def _named_folders(args: argparse.Namespace) -> tuple[Path, Path]:
    if folders := _photograph_folders(args):
        return folders
    raise TrainingError("name a folder with --photographs, and one with --other")


def photographs(args: argparse.Namespace) -> None:
    """Measure models on photographs of their classes and of other things."""
    import pandas as pd

    from training.measure import photographs
    from training.study import compare

    folders, columns = _named_folders(args), {}
    for one in [compare.find(what, args.models) for what in dict.fromkeys(args.what)]:
        card = one.card
        loaded = photographs.load(*folders, card.labels, one.size, card.resize, card.closer_look)
        file = card.files[one.model.name]
        found = photographs.measure(
            one.model, loaded, card.labels, file.energy_threshold, file.second_view
        )
        columns[one.label] = found.rows()
    print("with 95 % intervals", pd.DataFrame(columns).to_string(), sep="\n")


def closer_looks(args: argparse.Namespace) -> None:
    """Measure whether closer looks pay on photographs."""
    from training.study import closer_looks, compare

    folders = _named_folders(args)
    for one in [compare.find(what, args.models) for what in dict.fromkeys(args.what)]:
        table = closer_looks.measure(one, folders)
        print(f"{one.label}, with 95 % intervals", table.to_string(), sep="\n")


def corruptions(args: argparse.Namespace) -> None:
    """Measure models on the corruptions of CIFAR-10-C."""
    from training.study import compare, corruptions

    contenders = [compare.find(what, args.models) for what in dict.fromkeys(args.what)]
    test = None if args.split is None else args.split == "test"
    name, splits = compare.splits_for(contenders, args.data, "corruptions", test=test)
    for one in contenders:
        split, rule = splits[one.card.resize], one.card.files[one.model.name].second_view
        table = corruptions.measure(one.model, split, rule)
        print(f"{one.label}, {name} split, {len(split):,} pictures, as served")
        print(table.to_string(float_format="{:.1%}".format))


def ablate(args: argparse.Namespace) -> None:
    """Train a preset with one part removed or changed at a time."""
    from training.data import dataset

    preset = PRESETS[args.preset]
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start()
    from training.pipeline import steps
    from training.study import ablate

    folder = args.runs / steps.model_name(data, args.data) / f"ablation-{args.preset}"
    table = ablate.ablate(args.preset, data, folder, seed=args.seed, pictures=args.pictures)
    print(table.round(4).to_string())


def resize_rules(args: argparse.Namespace) -> None:
    """Measure which resize rule suits a network, on enlarged validation pictures."""
    from training.data import dataset
    from training.study import compare, resize_rules

    for one in [compare.find(what, args.models) for what in dict.fromkeys(args.what)]:
        data = dataset.load(args.data, one.size, one.card.resize)
        if data.fingerprint != one.card.data.fingerprint:
            raise TrainingError(f"{one.label}: trained on other data than --data names")
        table = resize_rules.measure(one.model, data.validation, one.size)
        print(one.label, table.to_string(float_format="{:.1%}".format), sep="\n")


def bench(args: argparse.Namespace) -> None:
    """Measure where the time of a training step goes."""
    from training.data import dataset

    preset = PRESETS[args.preset]
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start()
    import keras

    from training.study import throughput

    print(throughput.measure(preset, data).text())
    if keras.backend.backend() == "tensorflow":
        from training.study import bench

        print("", bench.text(bench.bench(preset, data)), sep="\n")

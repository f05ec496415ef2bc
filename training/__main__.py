"""Train a small image classifier, export it to ONNX and publish it for the service.

`run` does everything; the other commands are its steps, for a run folder that `fit` made.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.presets import PRESETS, Preset

# Three stages of pooling leave something of the first; beyond the second other networks are better.
SMALLEST_IMAGE, LARGEST_IMAGE = 16, 128
DATA_HELP = (
    "folder with train.csv and test.csv (Kaggle), cifar-10-batches-py, or "
    "train/<class>/ and test/<class>/ picture folders; without it Keras downloads CIFAR-10"
)


def _start_tensorflow() -> None:
    """Import TensorFlow without its start-up notes, which no setting keeps off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    terminal = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
    where = f"{len(gpus)} GPU" if gpus else f"the CPU ({os.cpu_count()} cores)"
    print(f"TensorFlow {tf.__version__} on {where}")


def _preset(args: argparse.Namespace) -> Preset:
    preset = PRESETS[args.preset]
    return replace(preset, image_size=args.image_size or preset.image_size)


def _fit(args: argparse.Namespace) -> None:
    from training.data import dataset

    preset = _preset(args)
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start_tensorflow()
    from training.train import fit

    fit.fit(preset, data, args.run, seed=args.seed, resume=args.resume, devices=args.devices)


def _export(args: argparse.Namespace) -> None:
    _start_tensorflow()
    from training import pipeline
    from training.train.checkpoint import Run

    run = Run(args.run)
    data = pipeline.load_for(run, args.data)
    name = args.name or pipeline.model_name(data, args.data)
    found = pipeline.export_run(run, data, args.models, name)
    for file in found.read_card()["files"]:
        print(f"wrote {found.folder / file}")


def _verify(args: argparse.Namespace) -> None:
    _start_tensorflow()
    from training import pipeline
    from training.train.checkpoint import Run

    run = Run(args.run)
    difference = pipeline.verify_run(run, pipeline.load_for(run, args.data))
    print(f"Keras and ONNX Runtime differ by {difference:.1e} at most")


def _evaluate(args: argparse.Namespace) -> None:
    _start_tensorflow()
    from training import pipeline
    from training.train.checkpoint import Run

    run = Run(args.run)
    evaluations = pipeline.evaluate_run(
        run, pipeline.load_for(run, args.data), args.data, args.models
    )
    print(*pipeline.summary(evaluations), f"report: {run.folder / 'report.html'}", sep="\n")


def _resize_rules(args: argparse.Namespace) -> None:
    _start_tensorflow()
    from training import pipeline
    from training.publish import repository
    from training.study import resize_rules
    from training.train.checkpoint import Run

    data = pipeline.load_for(Run(args.run), args.data)
    found = repository.of_run(args.run)
    size = found.read_card()["input"]["height"]
    table = resize_rules.measure(found.model, data.validation, size)
    print(table.to_string(float_format="{:.1%}".format))


def _publish(args: argparse.Namespace) -> None:
    from training.publish import repository

    print(f"published {repository.publish(repository.of_run(args.run), args.models)}")


def _run(args: argparse.Namespace) -> None:
    from training.data import dataset

    preset = _preset(args)
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start_tensorflow()
    from training import pipeline

    name = args.name or pipeline.model_name(data, args.data)
    published = pipeline.run_all(
        preset, data, args.data, models=args.models, runs=args.runs / name, name=name,
        seeds=range(args.seed, args.seed + args.seeds), resume=args.resume, devices=args.devices,
    )  # fmt: skip
    print(f"published {published}; the service loads it at its next start")


def _ablate(args: argparse.Namespace) -> None:
    from training.data import dataset

    preset = PRESETS[args.preset]
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start_tensorflow()
    from training import pipeline
    from training.study import ablate

    folder = args.runs / pipeline.model_name(data, args.data) / f"ablation-{args.preset}"
    print(ablate.ablate(args.preset, data, folder, seed=args.seed).round(4).to_string())


def _verify_models(args: argparse.Namespace) -> None:
    _start_tensorflow()
    from training.publish import recheck

    print(*recheck.recheck(args.models, args.data), sep="\n")


def _compare(args: argparse.Namespace) -> None:
    from training.study import compare

    contenders = [compare.find(what, args.models) for what in dict.fromkeys(args.what)]
    comparison = compare.compare(contenders, args.data)
    print(f"{comparison.split} split, {comparison.pictures:,} pictures")
    for heading, table in compare.tables(comparison).items():
        print(f"\n{heading}\n{table.to_string()}")
    print(
        "", *comparison.pairs, f"page: {compare.write(comparison, args.runs / 'compare')}", sep="\n"
    )


def _bench(args: argparse.Namespace) -> None:
    from training.data import dataset

    preset = PRESETS[args.preset]
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start_tensorflow()
    from training.study import bench

    print(bench.text(bench.bench(preset, data)))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _image_size(text: str) -> int:
    if not text.isdecimal() or not SMALLEST_IMAGE <= int(text) <= LARGEST_IMAGE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a side from {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels"
        )
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, call: object, about: str, *options: str) -> None:
        description = f"{about[0].upper()}{about[1:]}."
        command = commands.add_parser(name, help=about, description=description)
        command.set_defaults(call=call)
        for option in options:
            command.add_argument(*_OPTIONS[option][0], **_OPTIONS[option][1])

    add("run", _run, "fit, export, verify, evaluate and publish in a row",
        "preset", "image_size", "data", "seed", "seeds", "resume", "devices", "name", "models",
        "runs")  # fmt: skip
    add("fit", _fit, "train a preset",
        "run", "preset", "image_size", "data", "seed", "resume", "devices")  # fmt: skip
    add("export", _export, "write the ONNX file and its card", "run", "data", "name", "models")
    add("verify", _verify, "check that Keras and ONNX Runtime agree", "run", "data")
    add("evaluate", _evaluate, "measure the ONNX file and write report.html",
        "run", "data", "models")  # fmt: skip
    add("resize-rules", _resize_rules,
        "measure which way of resizing suits the network, on enlarged validation pictures",
        "run", "data")  # fmt: skip
    add("publish", _publish, "put the artifact into the model repository", "run", "models")
    add("ablate", _ablate, "train a preset with one thing removed or changed at a time",
        "preset", "data", "seed", "runs")  # fmt: skip
    add("verify-models", _verify_models, "recompute the figures of every published card",
        "data", "models")  # fmt: skip
    add("compare", _compare, "put exported models side by side, and test which is better",
        "what", "data", "models", "runs")  # fmt: skip
    add("bench", _bench, "measure where the time of a training step goes", "preset", "data")
    return parser


_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "run": (("run",), {"type": Path, "help": "the run folder", "metavar": "RUN"}),
    "what": (("what",), {"nargs": "+", "metavar": "MODEL",
                         "help": "a version of cifar10, a folder (of a run too), or an ONNX file"}),
    "preset": (("--preset",), {"choices": sorted(PRESETS), "default": "default",
                               "help": "what to train (default: %(default)s)"}),
    "image_size": (("--image-size",), {"type": _image_size, "metavar": "PIXELS",
                                       "help": "side of the network's input "
                                               "(default: the preset's, 32)"}),
    "data": (("--data",), {"type": Path, "metavar": "FOLDER", "help": DATA_HELP}),
    "seed": (("--seed",), {"type": int, "default": 0, "help": "of everything random (default: 0)"}),
    "seeds": (("--seeds",), {"type": _positive, "default": 1, "metavar": "N",
                             "help": "train N seeds for their spread; the first is published"}),
    "devices": (("--devices",), {"type": _positive, "default": 1, "metavar": "N",
                                 "help": "share each batch out among N GPUs (default: 1)"}),
    "resume": (("--resume",), {"action": "store_true",
                               "help": "go on after the last finished epoch"}),
    "name": (("--name",), {"help": "of the model (default: cifar10, or the data folder's name)"}),
    "models": (("--models",), {"type": Path, "default": Path("models"), "metavar": "FOLDER",
                               "help": "the model repository (default: %(default)s)"}),
    "runs": (("--runs",), {"type": Path, "default": Path("runs"), "metavar": "FOLDER",
                           "help": "where run folders lie (default: %(default)s)"}),
}  # fmt: skip


def main() -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args()
    try:
        args.call(args)
    except (TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; --resume goes on after the last finished epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

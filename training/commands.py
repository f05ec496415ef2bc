"""Train an image classifier, export it to ONNX and publish it for the service.

`run` does all steps. `fit`, `export`, `verify`, `evaluate` and `publish` are the steps one by one,
on the run folder that `fit` writes.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.errors import TrainingError
from training.options import OPTIONS
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


def _run(args: argparse.Namespace) -> None:
    from training.data import dataset

    preset = _preset(args)
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start()
    from training.pipeline import run, steps

    name = args.name or steps.model_name(data, args.data)
    published = run.run_all(
        preset, data, args.data, models=args.models, runs=args.runs / name, name=name,
        seeds=range(args.seed, args.seed + args.seeds), resume=args.resume, devices=args.devices,
        photographs=_photograph_folders(args),
    )  # fmt: skip
    print(f"published {published}; a service loads it on SIGHUP, or at its next start")


def _fit(args: argparse.Namespace) -> None:
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


def _export(args: argparse.Namespace) -> None:
    _start()
    from training.pipeline import steps
    from training.train.checkpoint import Run

    run = Run(args.run)
    data = steps.load_for(run, args.data)
    name = args.name or steps.model_name(data, args.data)
    found = steps.export_run(run, data, args.models, name)
    for file in found.read_exported().files:
        print(f"wrote {found.folder / file}")


def _verify(args: argparse.Namespace) -> None:
    _start()
    from training.pipeline import steps
    from training.train.checkpoint import Run

    run = Run(args.run)
    difference = steps.verify_run(run, steps.load_for(run, args.data))
    print(f"the checkpoint and model.onnx differ by {difference:.1e} at most")


def _evaluate(args: argparse.Namespace) -> None:
    _start()
    from training.pipeline import evaluate, steps
    from training.train.checkpoint import Run

    run = Run(args.run)
    data = steps.load_for(run, args.data)
    evaluations = evaluate.evaluate_run(
        run, data, args.data, args.models, _photograph_folders(args)
    )
    print(*evaluate.summary(evaluations), f"report: {run.folder / 'report.html'}", sep="\n")


def _publish(args: argparse.Namespace) -> None:
    from training.publish import artifact, repository

    print(f"published {repository.publish(artifact.of_run(args.run), args.models)}")


def _verify_models(args: argparse.Namespace) -> None:
    from training.publish import recheck

    print(*recheck.recheck(args.models, args.data), sep="\n")


def _compare(args: argparse.Namespace) -> None:
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


def _photographs(args: argparse.Namespace) -> None:
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


def _closer_looks(args: argparse.Namespace) -> None:
    from training.study import closer_looks, compare

    folders = _named_folders(args)
    for one in [compare.find(what, args.models) for what in dict.fromkeys(args.what)]:
        table = closer_looks.measure(one, folders)
        print(f"{one.label}, with 95 % intervals", table.to_string(), sep="\n")


def _ablate(args: argparse.Namespace) -> None:
    from training.data import dataset

    preset = PRESETS[args.preset]
    data = dataset.load(args.data, preset.image_size, preset.resize)
    _start()
    from training.pipeline import steps
    from training.study import ablate

    folder = args.runs / steps.model_name(data, args.data) / f"ablation-{args.preset}"
    table = ablate.ablate(args.preset, data, folder, seed=args.seed, pictures=args.pictures)
    print(table.round(4).to_string())


def _resize_rules(args: argparse.Namespace) -> None:
    _start()
    from training.pipeline import steps
    from training.publish import artifact
    from training.study import resize_rules
    from training.train.checkpoint import Run

    data = steps.load_for(Run(args.run), args.data)
    found = artifact.of_run(args.run)
    size = found.read_exported().input.height
    table = resize_rules.measure(found.model, data.validation, size)
    print(table.to_string(float_format="{:.1%}".format))


def _bench(args: argparse.Namespace) -> None:
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


Command = Callable[[argparse.Namespace], None]
_COMMANDS: dict[str, tuple[Command, str, str]] = {
    "run": (
        _run,
        "fit, export, verify, evaluate and publish",
        "--preset --image-size --epochs --data --photographs --other --seed --seeds --resume "
        "--devices --name --models --runs",
    ),
    "fit": (
        _fit,
        "train a preset, and its teacher before it",
        "run --preset --image-size --epochs --data --pictures --seed --resume --devices",
    ),
    "export": (_export, "write the ONNX files and their card", "run --data --name --models"),
    "verify": (_verify, "check that model.onnx gives the answers of the checkpoint", "run --data"),
    "evaluate": (
        _evaluate,
        "measure the ONNX files and write report.html",
        "run --data --photographs --other --models",
    ),
    "publish": (_publish, "copy the ONNX files into the model repository", "run --models"),
    "verify-models": (
        _verify_models,
        "measure the figures of all published cards again",
        "--data --models",
    ),
    "compare": (
        _compare,
        "compare exported models, and test which is better",
        "what --data --split --models --runs",
    ),
    "photographs": (
        _photographs,
        "measure models on photographs of their classes and of other things",
        "what --photographs --other --models",
    ),
    "closer-looks": (
        _closer_looks,
        "measure whether closer looks pay on photographs",
        "what --photographs --other --models",
    ),
    "ablate": (
        _ablate,
        "train a preset with one part removed or changed at a time",
        "--preset --data --pictures --seed --runs",
    ),
    "resize-rules": (
        _resize_rules,
        "measure which resize rule suits a network, on enlarged validation pictures",
        "run --data",
    ),
    "bench": (_bench, "measure where the time of a training step goes", "--preset --data"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for name, (call, about, options) in _COMMANDS.items():
        description = f"{about[0].upper()}{about[1:]}."
        command = commands.add_parser(name, help=about, description=description)
        command.set_defaults(call=call)
        for option in options.split():
            command.add_argument(option, **OPTIONS[option])
    return parser


def main() -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args()
    try:
        args.call(args)
    except (TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; --resume continues where the run was last saved", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

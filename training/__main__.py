"""Train an image classifier, export it to ONNX and publish it for the service.

`run` does all steps. `fit`, `export`, `verify`, `evaluate` and `publish` are the steps one by one,
on the run folder that `fit` writes.
"""

import argparse
import sys
from collections.abc import Callable

from training import commands
from training.errors import TrainingError
from training.options import OPTIONS

Command = Callable[[argparse.Namespace], None]
_COMMANDS: dict[str, tuple[Command, str]] = {
    "run": (
        commands.run,
        "--preset --image-size --epochs --data --photographs --other --seed --seeds --resume "
        "--devices --name --models --runs",
    ),
    "fit": (
        commands.fit,
        "run --preset --image-size --epochs --data --pictures --seed --resume --devices",
    ),
    "export": (
        commands.export,
        "run --data --name --models",
    ),
    "verify": (
        commands.verify,
        "run --data",
    ),
    "evaluate": (
        commands.evaluate,
        "run --data --photographs --other --models",
    ),
    "publish": (commands.publish, "run --models"),
    "verify-models": (
        commands.verify_models,
        "--data --photographs --other --models",
    ),
    "compare": (
        commands.compare,
        "what --data --split --models --runs",
    ),
    "photographs": (
        commands.photographs,
        "what --photographs --other --models",
    ),
    "closer-looks": (
        commands.closer_looks,
        "what --photographs --other --models",
    ),
    "corruptions": (
        commands.corruptions,
        "what --data --split --models",
    ),
    "ablate": (
        commands.ablate,
        "--preset --data --pictures --seed --runs",
    ),
    "resize-rules": (
        commands.resize_rules,
        "what --data --models",
    ),
    "bench": (commands.bench, "--preset --data"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    each = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for name, (call, options) in _COMMANDS.items():
        about = str(call.__doc__)
        command = each.add_parser(
            name, help=f"{about[0].lower()}{about[1:].removesuffix('.')}", description=about
        )
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
        resume = "; --resume continues where the run was last saved" if "resume" in args else ""
        print(f"\ninterrupted{resume}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

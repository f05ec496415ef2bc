"""Command line of the training package: `python -m training --help`."""

import argparse
import os
import sys
from pathlib import Path

# TensorFlow prints its start-up notes before anyone can ask it not to.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from training.config import PRESETS  # noqa: E402
from training.errors import TrainingError  # noqa: E402


def _fit(args: argparse.Namespace) -> None:
    from training import data, fit

    preset = PRESETS[args.preset]
    dataset = data.load(args.data, preset.image_size, preset.resize)
    folder = args.run or Path("runs") / f"{preset.name}-seed{args.seed}"
    fit.fit(preset, dataset, folder, seed=args.seed, resume=args.resume)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    fit = commands.add_parser("fit", help="train a preset")
    fit.set_defaults(call=_fit)
    fit.add_argument("--preset", choices=sorted(PRESETS), default="baseline")
    fit.add_argument("--data", type=Path)
    fit.add_argument("--run", type=Path)
    fit.add_argument("--seed", type=int, default=0)
    fit.add_argument("--resume", action="store_true")
    return parser


def main() -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args()
    try:
        args.call(args)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; --resume goes on after the last finished epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Command line: `cifar10-serve` serves, classifies files, and lists and checks models."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError
from tqdm import tqdm

from service import NAME, RELEASE
from service.cli import files, output
from service.errors import InvalidParameterError, ModelRefusedError, ServiceError
from service.hardware import available_cpus
from service.inference import repository
from service.inference.card import CARD_FILE
from service.inference.classifier import Classifier
from service.inference.repository import StoredModel
from service.inference.snapshot_builder import open_default
from service.settings import Settings, explain


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, by default with the arguments of the process.

    Returns:
        Exit status: 0 for success, 1 if something is damaged or missing, 2 for wrong arguments or
        settings, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        from service.cli.serve import main as serve

        return serve(arguments[1:])
    args = _parser().parse_args(arguments)
    # Pillow warns of unusual pictures; what matters is in the output.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = args.call(args)
        sys.stdout.flush()
        return status
    except (ValidationError, SettingsError) as error:
        return _fail(explain(error), status=2)
    except (ServiceError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of the output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted", status=130)


def _predict(args: argparse.Namespace) -> int:
    settings = _settings(args)
    classifier = open_default(settings)
    labels = classifier.model.labels
    if not 1 <= args.top_k <= len(labels):
        reason = f"the model has {len(labels)} classes; ask for 1 to {len(labels)}"
        return _fail(f"--top-k: {reason}", status=2)
    try:
        asked = args.coverage is not None
        thresholds = classifier.model.thresholds(args.coverage) if asked else None
    except InvalidParameterError as error:
        return _fail(f"--{error}", status=2)
    found = files.find(args.paths)
    outcomes = files.classify(
        classifier,
        found,
        batch=settings.max_batch,
        threads=available_cpus() if settings.threads == "auto" else settings.threads,
        max_bytes=settings.max_body_bytes,
    )
    heading, row = output.FORMATS[args.format](found, labels, args.top_k, thresholds)
    sys.stdout.write(heading)
    bad = []
    # The bar is shown on a terminal only, below the rows.
    for file, outcome in tqdm(outcomes, total=len(found), unit=" pictures", disable=None):
        tqdm.write(row(file, outcome), end="")
        if isinstance(outcome, ServiceError):
            bad.append(f"  {output.printable(file)}: {outcome}")
    if bad:
        summary = f"{len(bad):,} of {len(found):,} could not be classified:"
        print(summary, *bad, sep="\n", file=sys.stderr)
    return 1 if bad else 0


def _list(args: argparse.Namespace) -> int:
    rows: list[tuple[str, ...]] = [
        ("model", "version", "file", "size", "accuracy", "input", "classes")
    ]
    refused = []
    for folder in repository.versions(_settings(args).models):
        try:
            stored = repository.read_version(folder)
            rows += [_cells(stored, file) for file in repository.files(stored)]
        except ServiceError as error:
            refused.append(str(error))
    sys.stdout.write(output.columns(rows))
    for reason in refused:
        _fail(reason)
    return 1 if refused else 0


def _cells(stored: StoredModel, file: str) -> tuple[str, ...]:
    card = stored.card
    measured = card.accuracies(file).items()
    return (
        stored.name,
        str(stored.version),
        file,
        f"{repository.size(stored, file) / 1e6:.1f} MB",
        next((f"{accuracy:.2%} ({split})" for split, accuracy in measured), ""),
        f"{card.input.width} x {card.input.height}",
        str(len(card.labels)),
    )


def _verify(args: argparse.Namespace) -> int:
    status = 0
    for folder in repository.versions(_settings(args).models):
        for file, refusal in verify(folder):
            print(f"{folder / file}: {refusal or 'ok'}")
            status = 1 if refusal else status
    return status


def verify(folder: Path) -> Iterator[tuple[str, ServiceError | None]]:
    """Opens each file of one version on the CPU: its sha256, its metadata, and a self-test.

    Yields:
        The name of the file, and the error that it is refused with, None if it is not.
    """
    try:
        stored = repository.read_version(folder)
    except ModelRefusedError as error:
        yield CARD_FILE, error
        return
    for file in repository.files(stored):
        refusal = None
        try:
            Classifier.open(folder, stored.name, variant=file, provider="cpu")
        except ServiceError as error:
            refusal = error
        yield file, refusal


def _settings(args: argparse.Namespace) -> Settings:
    """The settings of the environment, overridden by arguments."""
    fields = Settings.model_fields
    return Settings(**{k: v for k, v in vars(args).items() if k in fields and v is not None})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME, description="Serve a model, classify files, list and check models."
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {RELEASE}")
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("serve", help="serve a model over HTTP; the same as `python -m service`")
    _add_predict(commands.add_parser)

    models = commands.add_parser("models", help="list and check the models of the repository")
    actions = models.add_subparsers(required=True, metavar="action")
    about = "list all files of all versions with their measured accuracy"
    _add_command(actions.add_parser, "list", about, _list)
    about = "check all checksums and metadata, and compute one answer with each model"
    _add_command(actions.add_parser, "verify", about, _verify)
    return parser


def _add_predict(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    about = "classify files, without a server"
    predict = _add_command(add_parser, "predict", about, _predict)
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a file, a folder with pictures, a pattern in quotes such as 'photos/**/*.jpg', or - "
        "for the standard input",
    )
    predict.add_argument(
        "--format",
        choices=output.FORMATS,
        default="table",
        help="format of the output (default: %(default)s)",
    )
    predict.add_argument(
        "--top-k",
        type=int,
        default=1,
        metavar="K",
        help="how many classes to name for each picture (default: %(default)s)",
    )
    predict.add_argument(
        "--coverage",
        type=float,
        metavar="SHARE",
        help="also name the classes that together hold the right one in this share of pictures, "
        "such as 0.95",
    )
    predict.add_argument("--model", help="name of the model, that of its folder (default: cifar10)")
    predict.add_argument(
        "--version",
        metavar="N",
        dest="model_version",
        help="its version, the number of its folder (default: the newest)",
    )


def _add_command(
    add_parser: Callable[..., argparse.ArgumentParser],
    name: str,
    about: str,
    call: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Adds a command, with the option that all commands share."""
    parser = add_parser(name, help=about, description=f"{about.capitalize()}.")
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FOLDER",
        help="the model repository (default: models, or the model of the package)",
    )
    parser.set_defaults(call=call)
    return parser


def _fail(reason: str, status: int = 1) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return status

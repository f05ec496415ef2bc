"""The arguments that the command and its parts share."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a parser."""
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda", help="what to check")
    parser.add_argument("--quick", action="store_true", help="a little of everything, in seconds")

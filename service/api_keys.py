"""API keys as settings hold them: a text with commas, or a file with one key a line."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

_KEY = re.compile(r"[!-+\--~]+")


def read_keys(path: Path) -> tuple[SecretStr, ...]:
    """Reads a file of API keys: one a line; blank lines and comments (#) are skipped.

    Raises:
        ValueError: the file cannot be read, or a line is no key.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return _check_keys(tuple(SecretStr(key) for key in lines if key and not key.startswith("#")))


def _check_keys(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Refuses keys that cannot be sent in a header, without showing them."""
    if not all(_KEY.fullmatch(key.get_secret_value()) for key in keys):
        raise ValueError("a key has printable ASCII characters only, and no spaces or commas")
    return keys


def _check_file(path: Path) -> Path:
    read_keys(path)
    return path


def split(value: object) -> object:
    """Splits a text at commas; other values are left to the type of the setting."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _split_keys(value: object) -> object:
    """Splits a text at commas; one without a key would leave the service open, unseen."""
    if isinstance(value, str) and not split(value):
        raise ValueError("it is set and holds no key; leave it unset where none is needed")
    return split(value)


Keys = Annotated[
    tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_keys), AfterValidator(_check_keys)
]
FileOfKeys = Annotated[Path, AfterValidator(_check_file)]

"""The model that a process serves, as processes and clients are told of it."""

from typing import Literal, NamedTuple

Administration = Literal["load", "unload"]


class Served(NamedTuple):
    """The model that a process serves, and the execution provider that computes it.

    Attributes:
        model: name of the model.
        version: version of the model.
        variant: name of its file.
        sha256: sha256 of that file, in hexadecimal.
        provider: execution provider in use.
        requested_provider: execution provider that was asked for.
    """

    model: str
    version: str
    variant: str
    sha256: str
    provider: str
    requested_provider: str

    def agrees_with(self, other: "Served") -> bool:
        """Whether both are the same version, and the same file where they name the same variant."""
        same_version = (self.model, self.version) == (other.model, other.version)
        return same_version and (self.variant != other.variant or self.sha256 == other.sha256)

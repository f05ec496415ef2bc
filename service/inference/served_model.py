"""What is known of the model that a process serves, without loading anything."""

from typing import Literal, NamedTuple

Administration = Literal["load", "unload"]


class ServedModel(NamedTuple):
    """The model that a worker serves, and the execution provider that runs it."""

    model: str
    version: str
    variant: str
    sha256: str
    provider: str
    requested_provider: str

    def agrees_with(self, other: "ServedModel") -> bool:
        """Whether both have the same version and, if they are the same file, the same content."""
        same_version = (self.model, self.version) == (other.model, other.version)
        return same_version and (self.variant != other.variant or self.sha256 == other.sha256)

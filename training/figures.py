"""Base class of the typed values that are written as JSON: cards, run settings, evaluations."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

# Precision of the inner layers of an ONNX file.
Precision = Literal["float32", "int8", "float16"]


class Figures(BaseModel):
    """Immutable typed values; a key that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> dict[str, Any]:
        """The values as plain JSON types; those that are None are left out."""
        return self.model_dump(mode="json", exclude_none=True)

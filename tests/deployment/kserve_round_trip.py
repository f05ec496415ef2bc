"""Reads manifests by the classes of KServe's SDK, and writes them again: JSON in, JSON out.

It takes several lists of manifests, as the SDK takes seconds to import, and runs in an environment
of its own. For a list that holds what the classes do not know, it says what that is.
"""

import json
import re
import sys
from typing import Any

import kserve
from kubernetes import client

_CLASSES = {
    "ServingRuntime": "V1alpha1ServingRuntime",
    "InferenceService": "V1beta1InferenceService",
}
_PLAIN: dict[str, type] = {"str": str, "int": int, "bool": bool}


class UnknownError(Exception):
    """A manifest holds what the classes do not know."""


def read(kind: str, value: Any) -> Any:  # noqa: ANN401
    """Makes an object of a class out of JSON; `kind` is a type as the SDK writes it."""
    if parts := re.fullmatch(r"list\[(.+)\]", kind):
        return [read(parts[1], item) for item in value]
    if parts := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {key: read(parts[1], item) for key, item in value.items()}
    model = getattr(kserve, kind, None) or getattr(client, kind, None)
    if model is None:
        if not isinstance(value, _PLAIN.get(kind, object)):
            raise UnknownError(f"{value!r} is not {kind}")
        return value
    attributes = {name: attribute for attribute, name in model.attribute_map.items()}
    if unknown := value.keys() - attributes.keys():
        raise UnknownError(f"{kind} has no {', '.join(sorted(unknown))}")
    return model(
        **{
            attributes[name]: read(model.openapi_types[attributes[name]], item)
            for name, item in value.items()
        }
    )


def write(value: Any) -> Any:  # noqa: ANN401
    """Makes JSON out of an object by the names of its class.

    The serialiser of the newest client of Kubernetes does not know the classes of the SDK.
    """
    if isinstance(value, list):
        return [write(item) for item in value]
    if isinstance(value, dict):
        return {key: write(item) for key, item in value.items()}
    attributes = getattr(value, "attribute_map", None)
    if attributes is None:
        return value
    found = {name: getattr(value, attribute) for attribute, name in attributes.items()}
    # One class has "" for a name that was not given.
    return {name: write(item) for name, item in found.items() if item not in (None, "")}


def round_trip(manifests: list[Any]) -> list[Any] | str:
    """The manifests as they were read and written, or what is wrong with them."""
    try:
        read_ones = [read(_CLASSES[it["kind"]], it) for it in manifests]
    except UnknownError as error:
        return str(error)
    return [write(manifest) for manifest in read_ones]


def main() -> None:
    """Reads and writes all manifests."""
    print(json.dumps([round_trip(manifests) for manifests in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()

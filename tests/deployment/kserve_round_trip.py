"""Reads manifests by the classes of KServe's SDK, and writes them again: JSON in, JSON out.

It runs in an environment of its own. What the classes do not know is an error.
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


def read(kind: str, value: Any) -> Any:  # noqa: ANN401
    """Makes an object of a class out of JSON; `kind` is a type as the SDK writes it."""
    if parts := re.fullmatch(r"list\[(.+)\]", kind):
        return [read(parts[1], item) for item in value]
    if parts := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {key: read(parts[1], item) for key, item in value.items()}
    model = getattr(kserve, kind, None) or getattr(client, kind, None)
    if model is None:
        if not isinstance(value, _PLAIN.get(kind, object)):
            sys.exit(f"{value!r} is not {kind}")
        return value
    attributes = {name: attribute for attribute, name in model.attribute_map.items()}
    if unknown := value.keys() - attributes.keys():
        sys.exit(f"{kind} has no {', '.join(sorted(unknown))}")
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


def main() -> None:
    """Reads and writes all manifests."""
    manifests = [read(_CLASSES[it["kind"]], it) for it in json.load(sys.stdin)]
    print(json.dumps([write(manifest) for manifest in manifests]))


if __name__ == "__main__":
    main()

"""The form of manifests: by the API's schemas, and by the models of its extensions."""

import kubernetes_validate
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
from cloudcoil.resources import Resource
from pydantic import ValidationError

from tests.deployment.manifests import Manifest

API_VERSION = "1.37"
_EXTENSIONS: dict[str, type[Resource]] = {
    "PrometheusRule": PrometheusRule,
    "ScaledObject": ScaledObject,
    "ServiceMonitor": ServiceMonitor,
}


def wrong_form(manifest: Manifest) -> str | None:
    """Says where a manifest has not the form of its kind; unknown fields are found, too."""
    if extension := _EXTENSIONS.get(manifest["kind"]):
        return _wrong_form_of_extension(manifest, extension)
    try:
        kubernetes_validate.validate(manifest, API_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def _wrong_form_of_extension(manifest: Manifest, extension: type[Resource]) -> str | None:
    try:
        parsed = extension.model_validate(manifest)
    except ValidationError as error:
        return str(error)
    # The models ignore fields that they do not have.
    known = parsed.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return None if known == manifest else f"only these fields are known: {known}"

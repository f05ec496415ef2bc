"""The form of manifests: by the API's schemas, and by the models of its extensions."""

from pydantic import BaseModel, ValidationError

from tests.deployment.manifests import Manifest

API_VERSION = "1.37"
# Of KEDA and the operator of Prometheus.
EXTENSIONS = {"PrometheusRule", "ScaledObject", "ServiceMonitor"}


def wrong_form(manifest: Manifest) -> str | None:
    """Says where a manifest of the API has not the form of its kind; finds unknown fields, too."""
    # Imported late: to check addresses it compiles a grammar, which takes a second.
    import kubernetes_validate

    try:
        kubernetes_validate.validate(manifest, API_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def wrong_form_of_extension(manifest: Manifest) -> str | None:
    """Says the same of a manifest of an extension."""
    try:
        parsed = _extension(manifest["kind"]).model_validate(manifest)
    except ValidationError as error:
        return str(error)
    # The models ignore fields that they do not have.
    known = parsed.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return None if known == manifest else f"only these fields are known: {known}"


def _extension(kind: str) -> type[BaseModel]:
    # Imported late: they are 85,000 lines, and few tests need them.
    from cloudcoil.models.keda.v1alpha1 import ScaledObject
    from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

    models: dict[str, type[BaseModel]] = {
        "PrometheusRule": PrometheusRule,
        "ScaledObject": ScaledObject,
        "ServiceMonitor": ServiceMonitor,
    }
    return models[kind]

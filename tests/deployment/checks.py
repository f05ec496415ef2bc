"""What schemas do not see: whether manifests fit each other, and the service that they run."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.deployment import pods
from tests.deployment.manifests import Manifest, of_kind


def faults(manifests: Sequence[Manifest]) -> list[str]:
    """What is wrong with manifests that are applied together."""
    pod = pods.read_pod(manifests)
    found = [*pods.faults(pod)]
    if deployments := of_kind(manifests, "Deployment"):
        (deployment,) = deployments
        found += [*_references(pod, manifests)]
        found += [*_selectors(deployment, manifests)]
        found += [*_ports(pod, manifests)]
        found += [*_autoscalers(deployment, manifests)]
        found += [*_monitoring(manifests)]
    else:
        found += [*_model_formats(manifests)]
    return found


def _references(pod: pods.Pod, manifests: Sequence[Manifest]) -> Iterator[str]:
    names = {(it["kind"], it["metadata"]["name"]) for it in manifests}
    wanted = [("ServiceAccount", pod.spec["serviceAccountName"])]
    wanted += [
        ("ConfigMap", source["configMapRef"]["name"])
        for source in pod.container["envFrom"]
        if "configMapRef" in source
    ]
    for kind, name in wanted:
        if (kind, name) not in names:
            yield f"there is no {kind} {name}"
    for holder in (pod.spec, *of_kind(manifests, "ServiceAccount")):
        if holder.get("automountServiceAccountToken") is not False:
            yield "the pod has a token of its ServiceAccount"


def _selectors(deployment: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    selectors = {"Deployment": deployment["spec"]["selector"]["matchLabels"]}
    for spread in template["spec"]["topologySpreadConstraints"]:
        selectors[f"spread by {spread['topologyKey']}"] = spread["labelSelector"]["matchLabels"]
    for it in of_kind(manifests, "Service"):
        selectors["Service"] = it["spec"]["selector"]
    for it in of_kind(manifests, "PodDisruptionBudget"):
        selectors["PodDisruptionBudget"] = it["spec"]["selector"]["matchLabels"]
    for it in of_kind(manifests, "NetworkPolicy"):
        selectors["NetworkPolicy"] = it["spec"]["podSelector"]["matchLabels"]
    for name, selector in selectors.items():
        if not (selector and selector.items() <= labels):
            yield f"{name} does not select the pods"


def _ports(pod: pods.Pod, manifests: Sequence[Manifest]) -> Iterator[str]:
    served = {entry["containerPort"] for entry in pod.container["ports"]}
    for service in of_kind(manifests, "Service"):
        for entry in service["spec"]["ports"]:
            if pod.port(entry["targetPort"]) not in served:
                yield f"Service leads to port {entry['targetPort']}"
    for policy in of_kind(manifests, "NetworkPolicy"):
        if sorted(policy["spec"]["policyTypes"]) != ["Egress", "Ingress"]:
            yield "NetworkPolicy leaves a direction open"
        allowed = {pod.port(p["port"]) for rule in policy["spec"]["ingress"] for p in rule["ports"]}
        if allowed != served:
            yield f"NetworkPolicy lets in to the ports {allowed}"


def _autoscalers(deployment: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    scalers = [
        *of_kind(manifests, "HorizontalPodAutoscaler"),
        *of_kind(manifests, "ScaledObject"),
    ]
    if len(scalers) > 1:
        yield "two autoscalers contradict each other"
    if bool(scalers) == ("replicas" in deployment["spec"]):
        yield "the number of replicas has two owners, or none"
    for scaler in scalers:
        if scaler["spec"]["scaleTargetRef"]["name"] != deployment["metadata"]["name"]:
            yield f"{scaler['kind']} scales something else"


def _monitoring(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Queries and rules ask for the job that the ServiceMonitor makes of the Service."""
    (service,) = of_kind(manifests, "Service")
    labels: dict[str, str] = service["metadata"]["labels"]
    ports = {entry["name"] for entry in service["spec"]["ports"]}
    for monitor in of_kind(manifests, "ServiceMonitor"):
        spec = monitor["spec"]
        if not spec["selector"]["matchLabels"].items() <= labels.items():
            yield "ServiceMonitor does not select the Service"
        for endpoint in spec["endpoints"]:
            if endpoint["port"] not in ports or endpoint["path"] != "/metrics":
                yield f"ServiceMonitor asks {endpoint['port']}{endpoint['path']}"
        job = labels.get(spec["jobLabel"])
        asked = {name for it in manifests for name in _jobs(it.get("spec", {}))}
        if asked != {job}:
            yield f"the job is {job}, and {asked} is asked for"


def _jobs(spec: dict[str, Any]) -> list[str]:
    """The jobs that the rules or queries of a manifest ask for."""
    triggers = [trigger["metadata"].get("query", "") for trigger in spec.get("triggers", ())]
    rules = [rule["expr"] for group in spec.get("groups", ()) for rule in group["rules"]]
    return re.findall(r'\bjob="([^"]*)"', "\n".join(triggers + rules))


def _model_formats(manifests: Sequence[Manifest]) -> Iterator[str]:
    """KServe finds a runtime for a model by its format and protocol."""
    (runtime,) = of_kind(manifests, "ServingRuntime")
    formats = {it["name"] for it in runtime["spec"]["supportedModelFormats"] if it["autoSelect"]}
    for service in of_kind(manifests, "InferenceService"):
        model = service["spec"]["predictor"]["model"]
        if model["modelFormat"]["name"] not in formats:
            yield f"no runtime has the format {model['modelFormat']['name']}"
        if model["protocolVersion"] not in runtime["spec"]["protocolVersions"]:
            yield f"no runtime has the protocol {model['protocolVersion']}"

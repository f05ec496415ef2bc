"""Features of other inference servers that this service does not offer."""

import re

SHARED_MEMORY = "Shared memory is not offered; send tensors in the body."
_SENTENCES = {
    r"/v2/systemsharedmemory/.*": SHARED_MEMORY,
    r"/v2/cudasharedmemory/.*": SHARED_MEMORY,
    r"/v2/(models/[^/]+/)?trace/setting": (
        "Trace settings are not offered; where traces go is set at the start, by "
        "OTEL_EXPORTER_OTLP_ENDPOINT."
    ),
    r"/v2/logging": (
        "Log settings are not offered; they are set at the start, by CIFAR10_LOG_LEVEL and "
        "CIFAR10_LOG_FORMAT."
    ),
    r"/v2/models/[^/]+(/versions/[^/]+)?/generate(_stream)?": (
        "Generating text is not offered; the models classify pictures."
    ),
    r"/v1/models/[^/]+(/versions/[^/]+)?:(classify|regress|explain)": (
        "Only :predict is offered, with instances that are pictures."
    ),
    r"/v1/models/[^/]+(/versions/[^/]+)?/metadata": (
        "Metadata are offered by the protocol V2, at /v2/models/{name}."
    ),
}


def sentence(path: str) -> str | None:
    """The error text for the path of a known feature that is not offered; None for other paths."""
    matches = (text for pattern, text in _SENTENCES.items() if re.fullmatch(pattern, path))
    return next(matches, None)

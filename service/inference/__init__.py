"""Pictures and models: decode, batch, compute. It knows nothing of HTTP or processes."""

import os

# ONNX Runtime sends usage events unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

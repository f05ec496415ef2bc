"""Train an image classifier, export it to ONNX and publish it; nothing here is needed to serve."""

import os

# ONNX Runtime sends usage events unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

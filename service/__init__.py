"""HTTP service that classifies pictures with an ONNX model."""

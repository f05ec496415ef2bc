"""Measure exported ONNX files; nothing here needs Keras."""

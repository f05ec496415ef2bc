"""Figures of exported ONNX files, measured through ONNX Runtime; nothing here needs Keras."""

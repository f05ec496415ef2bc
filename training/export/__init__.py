"""Export of a trained network to ONNX, in float32, int8 and float16."""

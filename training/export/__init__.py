"""Export a trained network to ONNX, in float32 and in faster precisions."""

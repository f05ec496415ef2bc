"""The Open Inference Protocol V2 over gRPC. It knows nothing of HTTP, ONNX or processes."""

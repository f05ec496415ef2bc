"""HTTP: routes, middleware and errors. It knows nothing of ONNX."""

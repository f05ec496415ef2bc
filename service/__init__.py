"""HTTP service that classifies pictures with an ONNX model."""

NAME = "cifar10-serve"
# That of `pyproject.toml`, as the images hold this folder and no installed package.
RELEASE = "0.1.0"

"""The offline half of cifar10-serve: data, Keras network, evaluation, ONNX file and card."""

#!/bin/sh
# Takes out of a virtual environment what serving never reads: slim FOLDER.
set -eu

# Test suites, tools for making models and extensions, and files for compilers and type checkers;
# but not the headers of CUDA, which it may compile against while it runs.
find "$1" \( -type d \( -name tests \
        -o -path '*/numpy/distutils' -o -path '*/numpy/f2py' -o -path '*/numpy/_core/include' \
        -o -path '*/onnxruntime/quantization' -o -path '*/onnxruntime/tools' \
        -o -path '*/onnxruntime/transformers' \) -prune \
    -o -type f \( -name '*.a' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyi' \) ! -path '*/nvidia/*' \) \
    -exec rm -r {} +

# Its wheel carries 12 MB of debugging symbols.
find "$1" -path '*/uvloop/loop.*.so' -exec strip {} +

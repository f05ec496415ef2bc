"""The command line: serve, classify files, list and check models."""

import os

# NumPy would start threads that nothing here uses, and workers are forked only without any.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

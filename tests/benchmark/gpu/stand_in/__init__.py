"""What stands in for CUDA where there is none; see `sitecustomize.py`."""

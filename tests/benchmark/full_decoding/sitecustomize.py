"""Python imports this at its start where the folder is on its path: JPEGs are decoded in full."""

from service.inference import decoding

# No picture has so many times the pixels of a model.
decoding.OVERSAMPLING = 1_000_000

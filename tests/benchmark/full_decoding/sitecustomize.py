"""Python imports this at its start where the folder is on its path: JPEGs are decoded in full."""

from service.inference.pictures import scaling

# No picture has so many times the pixels of a model.
scaling.OVERSAMPLING = 1_000_000

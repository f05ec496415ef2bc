"""Train a preset on a data set: networks, augmentation, optimisers, run folders."""

"""Training of a preset: networks, augmentation, optimisers and run folders."""

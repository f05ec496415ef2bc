"""Read data sets from disk, in each layout that people have, and split them."""

"""Data sets: readers of the layouts on disk, a cache, and the splits."""

"""Readers of the layouts in which people have pictures on disk.

Each names its files and reads one split; what is wrong with a file is said with the file and the
row. `training.data` caches what they read and makes the splits.
"""

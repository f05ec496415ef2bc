"""Experiments that compare networks, settings and exported files."""

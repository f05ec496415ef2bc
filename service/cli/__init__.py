"""The command line: serve, predict, models."""

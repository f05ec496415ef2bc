"""Errors that a person who trains can do something about."""


class TrainingError(Exception):
    """Something is wrong with the data, an argument or a folder; the message says what to do."""

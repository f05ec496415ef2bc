"""What can go wrong for a person who trains, told in one sentence."""


class TrainingError(Exception):
    """A mistake in the data, the arguments or a run folder; the message says what to do."""

"""The model card, the model repository, and the check of published figures."""

"""The model card, the model repository, and checks of what is published."""

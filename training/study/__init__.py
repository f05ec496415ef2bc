"""Experiments: ablation, comparison of models, resize rules, and the time of a training step."""

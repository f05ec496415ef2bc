"""What is particular to a kind of picture: its parser, its colours, its transparency, its cost."""

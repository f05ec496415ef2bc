"""What is particular to a kind of picture: its colours, its transparency, its orientation.

The other files in this folder are those of the same names in `service/inference/pictures/`, letter
for letter: a change is made in both, and `tests/contract/test_pictures.py` compares them.
"""

"""Out-of-distribution pictures: generated ones, and tiles of photographs.

They test whether a model recognises unfamiliar pictures, so nothing is trained on them. A picture
depends on its kind and its number only; its size is random, and every second one has been encoded
as JPEG, as uploads are.
"""

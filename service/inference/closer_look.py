"""The closer look: for a picture with many pixels, the square in its middle is computed, too.

A photograph often shows more than its subject. A picture with a closer look has four views: the
whole and the square, each also mirrored. Its probabilities and energy are the means of the four.
"""

from typing import Literal

from pydantic import BaseModel, Field

from service.inference.decoding import Picture
from service.inference.pictures import scaling
from service.inference.pictures.scaling import Box


class CloserLookRule(BaseModel, frozen=True):
    """Which pictures have a closer look, as the model's file and card state it.

    Attributes:
        kind: what is computed beside the whole picture: the square in its middle.
        times: a picture has one if its sides have at least this many times the model's pixels.
        share: side of the square, as a share of the picture's shorter side.
    """

    kind: Literal["square"]
    times: float = Field(ge=2)
    share: float = Field(gt=0, le=1)


def square(rule: CloserLookRule | None, picture: Picture, width: int, height: int) -> Box | None:
    """The square of a picture that has a closer look, in its decoded pixels.

    Args:
        rule: of the model; None where it has none.
        picture: as it was decoded, perhaps in a smaller size.
        width: the model's, in pixels.
        height: the model's.
    """
    times = min(picture.facts.width / width, picture.facts.height / height)
    if rule is None or times < rule.times:
        return None
    return scaling.middle_square(picture.box, rule.share)

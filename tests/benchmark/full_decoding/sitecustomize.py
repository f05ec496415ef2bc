"""Python imports this at its start where the folder is on its path: JPEGs are decoded in full."""

from PIL import JpegImagePlugin


def _draft(*_: object) -> None:
    pass


JpegImagePlugin.JpegImageFile.draft = _draft  # type: ignore[method-assign, assignment]

"""Renders templates into pages that need no other file and no network."""

import base64
import io
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

DPI = 110


def render(template: str, **values: object) -> str:
    """The page of a template beside this module.

    Templates have the filters `percent` (a share, and the number of digits) and `words` (a name
    without underscores).
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page.filters["percent"] = lambda share, digits=2: f"{share:.{digits}%}".replace("%", " %")
    page.filters["words"] = lambda name: name.replace("_", " ")
    return page.get_template(template).render(values)


def png(figure: Figure) -> str:
    """A figure as a `data:` URL; closes it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

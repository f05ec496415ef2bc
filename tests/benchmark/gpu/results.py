"""What was found, in words and as JSON; written after each finding, so that a kill loses none."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

Verdict = Literal["ok", "WRONG", "met", "MISSED"]
Figure = float | str | None


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        name: what was looked at.
        figures: what was found, by its name and unit.
        verdict: `ok` or `WRONG` on what must be so, `met` or `MISSED` on a target.
    """

    name: str
    figures: dict[str, Figure]
    verdict: Verdict | None = None

    def __str__(self) -> str:
        """The line."""
        figures = (f"{name} {_print(figure)}".strip() for name, figure in self.figures.items())
        return f"{self.name}: {', '.join(figures)}" + (f" ({self.verdict})" if self.verdict else "")


@dataclass
class Part:
    """What one part has found so far.

    Attributes:
        name: its name.
        findings: in order.
        error: why it did not come to its end; None while it runs, too.
        seconds: how long it took; None while it runs.
    """

    name: str
    findings: list[Finding] = field(default_factory=list)
    error: str | None = None
    seconds: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether it came to its end and nothing was wrong."""
        wrong = any(finding.verdict == "WRONG" for finding in self.findings)
        return self.error is None and not wrong


@dataclass
class Results:
    """All parts, in a folder: `results.json` and, in words, `report.txt`."""

    folder: Path
    facts: dict[str, str]
    parts: list[Part] = field(default_factory=list)

    def write(self) -> None:
        """Writes both files anew; a reader finds the old or the new ones, never half of one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = [
            asdict(part) | {"findings": [finding._asdict() for finding in part.findings]}
            for part in self.parts
        ]
        document = {"facts": self.facts, "parts": parts}
        for name, text in (
            ("results.json", json.dumps(document, indent=1)),
            ("report.txt", str(self)),
        ):
            new = self.folder / f"{name}.new"
            new.write_text(text)
            new.replace(self.folder / name)

    def __str__(self) -> str:
        """The report."""
        lines = [f"{name}: {value}" for name, value in self.facts.items()]
        for part in self.parts:
            lines += [f"\n{part.name}", *(f"  {finding}" for finding in part.findings)]
            lines += [f"  FAILED: {part.error}"] if part.error else []
        return "\n".join([*lines, ""])


def wrong_unless(good: bool) -> Verdict:
    """The verdict on what must be so."""
    return "ok" if good else "WRONG"


def missed_unless(good: bool) -> Verdict:
    """The verdict on a target."""
    return "met" if good else "MISSED"


def _print(figure: Figure) -> str:
    """A figure with three digits or more, and without those that mean nothing."""
    if not isinstance(figure, float):
        return "none" if figure is None else str(figure)
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"

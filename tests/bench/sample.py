"""What several runs measured, and how it is written down."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Sample:
    """The same thing measured several times."""

    values: list = field(default_factory=list)

    def add(self, value):
        """One more measurement."""
        self.values.append(value)

    @property
    def median(self):
        """What counts."""
        return statistics.median(self.values)

    def show(self, unit="s", scale=1.0, digits=2):
        """Such as "1.23 s (1.20 – 1.31)": the median, the smallest and the largest."""
        low, middle, high = (
            f"{value / scale:.{digits}f}"
            for value in (min(self.values), self.median, max(self.values))
        )
        return f"{middle} {unit} ({low} – {high})"


def alternate(runs, *sides):
    """Measure A B C A B C …; a Sample for each side.

    Each side is a function of the run's number that returns one measurement: what
    disturbs the machine for a while meets all sides alike.
    """
    samples = [Sample() for _ in sides]
    for run in range(runs):
        for sample, side in zip(samples, sides):
            sample.add(side(run))
    return samples


@dataclass
class Row:
    """One figure: what was measured, what was expected of it, None for no expectation."""

    figure: str
    measured: str
    expected: str = "–"
    good: bool | None = None

    @property
    def verdict(self):
        """In a word."""
        return {True: "met", False: "**missed**", None: "–"}[self.good]


def below(figure, value, limit, measured, unit="", digits=2):
    """A row for a value that should be smaller than a limit."""
    return Row(
        figure,
        f"**{value:.{digits}f}{unit}**; {measured}",
        f"below {limit:g}{unit}",
        value < limit,
    )

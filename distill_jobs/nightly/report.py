"""A night's records -> night.html; the last nights' -> nights.html; each needs nothing else."""

from pathlib import Path

import jinja2

from distill_jobs.evaluation.report import style
from distill_jobs.nightly import nights_plots, summary
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.settings import NightlySettings
from distill_jobs.nightly.status import status
from schemas import parts

NIGHT, NIGHTS = "night.html", "nights.html"
_SHOWN = 31  # nights on the page of all


def write(settings: NightlySettings, date: str) -> None:
    """Write both pages, each whole or not at all."""
    home = Home(settings.home)
    if home.night(date).is_dir():
        page = _template("night.html.j2").render(night=summary.night(home, date), style=style())
        parts.write_bytes(page.encode(), home.night(date), NIGHT)
        parts.tidy(home.night(date))
    rows = [summary.row(home, day) for day in home.nights()[-_SHOWN:]]
    page = _template("nights.html.j2").render(
        rows=rows[::-1],
        status=status(home, _SHOWN),
        figures=nights_plots.figures(rows),
        colours=nights_plots.COLOURS,
        style=style(),
    )
    parts.write_bytes(page.encode(), home.folder, NIGHTS)
    parts.tidy(home.folder)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)

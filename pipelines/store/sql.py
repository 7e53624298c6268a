"""Verb: a DuckDB view of exactly the committed parts of a version."""

import dataclasses
from collections.abc import Sequence

import tyro

from schemas.command import run_job
from schemas.store import open_store


@dataclasses.dataclass(frozen=True, kw_only=True)
class SqlConfig:
    """Print a DuckDB view of a version: a glob over the folder may find files of other versions."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    version: int | None = None
    """By default the newest."""
    view: str = "teacher"
    """Name of the view."""

    def __post_init__(self) -> None:
        """Reject what is no name."""
        if not self.view.isidentifier():
            raise ValueError(f"view must be a name, got {self.view!r}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and print."""
    run_job(SqlConfig, argv, sql)


def sql(config: SqlConfig) -> str:
    """The statement that makes the view.

    Raises:
        ValueError: if the version holds no part, of which a view could be made.
    """
    opened = open_store(config.location, config.version)
    if not opened.parts:
        raise ValueError(f"version {opened.version} of {opened.location} has no rows")
    quoted = [opened.path_of(part).replace("'", "''") for part in opened.parts]
    files = ",\n".join(f"    '{path}'" for path in quoted)
    about = f"-- {opened.location} at version {opened.version}, {opened.rows:,} rows"
    return (
        f"{about}\nCREATE OR REPLACE VIEW {config.view} AS\nSELECT * FROM read_parquet([\n{files}\n"
        "], hive_partitioning = true);"
    )

"""Job: add a night's counts to an IDF table, as a candidate that nothing uses yet."""

import dataclasses
from collections.abc import Sequence

import tyro

from pipelines.idf_reweigh import REWEIGHED
from pipelines.lineage import recorded
from schemas import parts, store, tables
from schemas.code_version import code_version
from schemas.command import run_job
from schemas.fingerprint import digest
from schemas.idf import IdfTable
from schemas.idf_drift import weight_drift


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdfMergeConfig:
    """Add the counts of new sentences to a table, into another one."""

    base: tyro.conf.Positional[str]
    """Folder of the table in use."""
    night: tyro.conf.Positional[tuple[str, ...]]
    """Folders of tables that count other sentences: `idf --known STORE` leaves out known ones."""
    out: str
    """Folder of the candidate to create."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and merge."""
    run_job(IdfMergeConfig, argv, idf_merge)


def idf_merge(config: IdfMergeConfig) -> dict[str, object]:
    """Merge the tables; counts are integers, so this equals counting all sentences at once.

    Returns:
        How far the candidate is from the base: see `weight_drift`.

    Raises:
        ValueError: if a table is merged twice, or the tables cannot be added.
        FileExistsError: if the folder holds another table.
    """
    opened = [store.open_store(one) for one in (config.base, *config.night)]
    runs = [run for one in opened for run in counted_runs(one)]
    twice = sorted({run for run in runs if runs.count(run) > 1})
    if twice:
        raise ValueError(f"the counts of run {twice[0]} are in two of these tables already")
    loaded = [IdfTable.load(one.location) for one in opened]
    for one, counted in zip(opened, loaded, strict=True):
        if not counted.n_docs:
            raise ValueError(
                f"{one.location} counts no sentence; count a night before it is embedded, or "
                "--known leaves out all of it"
            )
    merged = loaded[0]
    for other in loaded[1:]:
        merged = merged.merge(other)
    run_id = digest(["merge", sorted(runs)])
    drift = weight_drift(loaded[0], merged)
    done = store.committed(config.out, run_id)
    if done is None:
        if store.exists(config.out):
            raise FileExistsError(f"{config.out} holds another table; give another --out")
        parts.check_writable(config.out)
        part = parts.write(merged.to_arrow(), config.out, "part-*.parquet", row_group=65_536)
        fingerprint = {**opened[0].fingerprint, "idf": merged.digest()}
        summary = {"job": "idf-merge", "n_docs": merged.n_docs, "words": len(merged.df), "of": runs}
        read = {one.location: one.version for one in opened}
        with recorded("idf-merge", config.out, run_id, [], read) as recording:
            store.commit(
                config.out,
                tables.IDF,
                [part],
                run_id=run_id,
                fingerprint=fingerprint,
                summary={**summary, "code": code_version()},
            )
            recording.committed = store.committed(config.out, run_id)
        parts.tidy(config.out)
    return {"table": config.out, "reused": done is not None, **drift}


def counted_runs(opened: store.Store) -> list[str]:
    """The runs whose counts a table holds, by their ids.

    Raises:
        ValueError: if it holds no counts.
    """
    if REWEIGHED in opened.fingerprint:
        raise ValueError(
            f"{opened.location} has weights of your own, not counts: merge the table it was made "
            "from, then `idf reweigh` the result"
        )
    (commit,) = opened.commits
    of = commit.summary.get("of", [commit.run_id])
    assert isinstance(of, list)
    return of

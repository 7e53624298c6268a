"""Commit a rewrite of a store: what repair, forget, compact and move have in common."""

import dataclasses

from pipelines.lineage import recorded
from schemas.code_version import code_version
from schemas.command import RetryLater
from schemas.commits import Change
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.store import Overtaken, Store, committed, rewrite


def rewritten_path(part: Part, run_id: str) -> str:
    """Where a run puts a part that takes the place of another one, of the same length each time."""
    folder = part.path.rpartition("/")[0]
    return f"{folder}/part-{digest([part.sha256, run_id])}-*.parquet"


def put_in_place(opened: Store, change: Change) -> int:
    """Put parts in the place of others, on top of the version that was opened, and record it.

    Returns:
        The new version.

    Raises:
        RetryLater: if another run has committed since the store was opened.
    """
    summary = {**change.summary, "code": code_version()}
    job, read = str(summary["job"]), {opened.location: opened.version}
    with recorded(job, opened.location, change.run_id, [], read) as recording:
        try:
            version = rewrite(opened, dataclasses.replace(change, summary=summary))
        except Overtaken as error:
            raise RetryLater(f"{error}; run it again") from error
        recording.committed = committed(opened.location, change.run_id)
    return version

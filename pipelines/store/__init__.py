"""Job: look at a store, check it, mend it, rewrite it: ``python -m pipelines store VERB``."""

from collections.abc import Sequence

from schemas.command import choose

VERBS = {
    "history": "list the versions: what each run added and removed, and who needs it",
    "show": "describe a version, or follow one sentence back to its run and its inputs",
    "verify": "check every part, and the vectors against the teacher if it is given",
    "repair": "embed damaged parts again, and only those",
    "forget": "remove sentences, and never take them in again",
    "compact": "join small parts without embedding anything",
    "move": "move to another IDF table, embedding again only what it changes",
    "beside": "put a second teacher's vectors beside the first's, in a new store",
    "diff": "compare two versions: rows, IDF, vectors",
    "sql": "print a DuckDB view of exactly the committed parts",
    "vacuum": "delete files that no version needs, and old versions that no student names",
}


def main(argv: Sequence[str]) -> None:
    """Hand the rest of the command line to the named verb."""
    choose(VERBS, "pipelines.store.", argv)

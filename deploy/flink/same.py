"""Are two tables the same to the byte? Exit code 1, and what differs, if not."""

import sys

from schemas import store
from schemas.commits import Commit

# How a run went and by which code, not what it made.
_TIMES = {"teacher_seconds", "tokens_per_second", "rest_hours"}
_HOW = {*_TIMES, "parts_kept_from_earlier_try", "code"}


def main(one: str, other: str) -> None:
    """Compare the parts as they lie there, and what the commits say."""
    found = [_facts(one), _facts(other)]
    if found[0] != found[1]:
        for name in sorted(found[0].keys() | found[1].keys()):
            values = [facts.get(name, "nothing") for facts in found]
            if values[0] != values[1]:
                sys.stderr.write(f"{name}: {one} has {values[0]}, {other} has {values[1]}\n")
        raise SystemExit(1)
    opened = store.open_store(one)
    parts = "part" if len(opened.parts) == 1 else "parts"
    sys.stdout.write(
        f"  {one} = {other}: the same {len(opened.parts)} {parts}, byte for byte "
        f"({opened.rows:,} rows)\n"
    )


def _facts(location: str) -> dict[str, object]:
    opened = store.open_store(location)
    opened.verify()  # so that the sha256 is that of the file, not only of the commit
    facts: dict[str, object] = {f"part {part.path}": part.sha256 for part in opened.parts}
    facts |= {f"fingerprint {name}": value for name, value in opened.fingerprint.items()}
    for commit in opened.commits:
        facts |= {f"run {commit.run_id} {name}": value for name, value in _told(commit).items()}
    return facts


def _told(commit: Commit) -> dict[str, object]:
    return {name: value for name, value in commit.summary.items() if name not in _HOW}


if __name__ == "__main__":
    main(*sys.argv[1:])

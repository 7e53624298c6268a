"""Write the fault matrix into docs/reliability.md, from what the tests reported.

python -m tests.faults.table work/faults.xml docs/reliability.md
"""

import ast
import collections
import dataclasses
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- fault matrix: begin -->", "<!-- fault matrix: end -->"
COUNT = "count: "
MOST = "most "  # what is counted under such a name is not added up, the largest is taken


@dataclasses.dataclass(frozen=True)
class Case:
    """One test, with its parameters, as pytest reported it.

    Attributes:
        name: of the function.
        rows: of the matrix.
        counts: what it tried.
        passed: whether it did.
        seconds: that it took.
    """

    name: str
    rows: frozenset[int]
    counts: Mapping[str, int]
    passed: bool
    seconds: float


def read_report(path: Path) -> list[Case]:
    """The cases of a JUnit report."""
    cases = []
    for element in ElementTree.parse(path).getroot().iter("testcase"):
        told = [(one.get("name", ""), one.get("value", "")) for one in element.iter("property")]
        bad = any(element.find(kind) is not None for kind in ("failure", "error", "skipped"))
        cases.append(
            Case(
                name=element.get("name", "").partition("[")[0],
                rows=frozenset(int(value) for name, value in told if name == "matrix_row"),
                counts={
                    name.removeprefix(COUNT): int(value)
                    for name, value in told
                    if name.startswith(COUNT)
                },
                passed=not bad,
                seconds=float(element.get("time", 0)),
            )
        )
    return cases


def add_up(cases: Iterable[Case]) -> dict[str, int]:
    """Everything that the cases counted, by name."""
    found: dict[str, int] = {}
    for case in cases:
        for name, number in case.counts.items():
            before = found.get(name, 0)
            found[name] = max(before, number) if name.startswith(MOST) else before + number
    return found


def missing_tests(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Tests that the matrix names and nobody has written."""
    named = [one for row in rows for one in row.get("also", [])]
    found = []
    for one in named:
        file, _, name = one.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
        if name not in {node.name for node in functions}:
            found.append(one)
    return found


def table(rows: Iterable[Mapping[str, Any]], cases: list[Case]) -> str:
    """The matrix as Markdown, with a line on the whole."""
    lines = [
        "| | fault | promise | tests | tried | result |",
        "|---|---|---|---|---|---|",
        *(_line(row, [one for one in cases if row["number"] in one.rows]) for row in rows),
        "",
        _total(cases),
    ]
    return "\n".join(lines)


def _line(row: Mapping[str, Any], cases: list[Case]) -> str:
    by_name = collections.Counter(case.name for case in cases)
    tests = [f"`{name}`" + (f" ({n} cases)" if n > 1 else "") for name, n in by_name.items()]
    tests += [f"`{one.partition('::')[2]}` ({_where(one)})" for one in row.get("also", [])]
    tests += [row["reason"]] if "reason" in row else []
    result = "passed" if all(case.passed for case in cases) else "**failed**"
    cells = [
        *(str(row["number"]), row["fault"], row["promise"], "<br>".join(tests)),
        *(_counts(add_up(cases)), result if cases else ""),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _where(test: str) -> str:
    return "make test-cluster" if "test_cluster" in test else "make test"


def _counts(counts: Mapping[str, int]) -> str:
    return "<br>".join(
        f"{name.removeprefix(MOST)}: {'at most ' if name.startswith(MOST) else ''}{number:,}"
        for name, number in sorted(counts.items())
    )


def _total(cases: list[Case]) -> str:
    counts = {name: n for name, n in add_up(cases).items() if not name.startswith(MOST)}
    crashes, errors, orders, mutations = (
        sum(number for name, number in counts.items() if name.startswith(kind))
        for kind in ("crash points", "failed calls", "interleavings", "mutations")
    )
    seconds = sum(case.seconds for case in cases)
    return (
        f"{sum(case.passed for case in cases)} of {len(cases)} cases passed in "
        f"{seconds / 60:.1f} minutes: {crashes} crash points, {errors} failed system calls, "
        f"{orders} interleavings, {mutations:,} changed files."
    )


def main(argv: list[str]) -> None:
    """Read the report and the matrix, and write the page.

    Raises:
        SystemExit: if a row has neither a test nor a reason, a named test does not exist, or a
            case failed.
    """
    report, page = map(Path, argv)
    rows = tomllib.loads((Path(__file__).parent / "matrix.toml").read_text(encoding="utf-8"))["row"]
    cases = read_report(report)
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    page.write_text(
        f"{before}{BEGIN}\n{table(rows, cases)}\n{END}{rest.partition(END)[2]}", encoding="utf-8"
    )
    covered = {number for case in cases for number in case.rows}
    bare = [
        row["number"]
        for row in rows
        if row["number"] not in covered and not row.get("also") and not row.get("reason")
    ]
    faults = [f"row {number} has neither a test nor a reason" for number in bare]
    faults += [f"there is no test {name}" for name in missing_tests(rows)]
    faults += [f"{case.name} did not pass" for case in cases if not case.passed]
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main(sys.argv[1:])

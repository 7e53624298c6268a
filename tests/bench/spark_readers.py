"""Read stores with Spark: through the Delta log at every version, and as plain Parquet.

    uv pip install pyspark==4.1.1
    # jars/: io.delta's delta-spark_2.13, delta-storage, delta-kernel-{api,defaults,unitycatalog}
    python -m tests.bench.spark_readers --jars jars --store work/demo/teacher [more stores]

Row counts and one vector are compared with what pyarrow reads. Needs Java 17 and pyspark, which the
project itself does not install. Prints a Markdown table; what Spark refuses is told, not hidden.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from schemas import parts
from schemas.store import Store, open_store


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparkConfig:
    """Read stores with Spark."""

    store: tuple[Path, ...]
    """Folders of stores."""
    jars: Path
    """Folder with the jars of delta-spark."""


def main(config: SparkConfig) -> None:
    """Read and compare."""
    from pyspark.sql import SparkSession  # an extra of whoever runs this

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(map(str, sorted(config.jars.absolute().glob("*.jar")))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config(
            "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
        )
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    sys.stdout.write(
        "| store | version | read as | rows | vector of one row |\n|---|---|---|---|---|\n"
    )
    for folder in config.store:
        versions = [commit.version for commit in open_store(folder).commits]
        for version in sorted({versions[0], versions[-1]}):
            opened = open_store(folder, version)
            delta = spark.read.format("delta").option("versionAsOf", version)
            tell(opened, "Delta", lambda read=delta, at=folder: read.load(str(at)))
            files = [opened.path_of(part) for part in opened.parts]
            plain = spark.read.option("basePath", str(folder))
            tell(opened, "Parquet", lambda read=plain, files=files: read.parquet(*files))
    spark.stop()


def tell(opened: Store, how: str, read: Any) -> None:
    """A line of the table."""
    first = parts.read(opened.path_of(opened.parts[0])).slice(0, 1)
    name = next(name for name in first.column_names if name.startswith("vector_"))
    wanted = np.asarray(first[name][0].as_py(), dtype=np.float64)
    try:
        frame = read()
        rows = frame.count()
        (row,) = frame.where(frame.sentence_id == first["sentence_id"][0].as_py()).collect()
        same = np.array_equal(np.asarray(row[name], dtype=np.float64), wanted)
        assert str(row["ingest_date"]) >= "2000"
        told = f"{rows:,} | {'equal' if same else 'DIFFERENT'}"
        assert same
        assert rows == opened.rows
    except AssertionError:
        raise
    except Exception as error:
        cause = getattr(error, "java_exception", error)
        while getattr(cause, "getCause", None) and cause.getCause():
            cause = cause.getCause()
        told = f"refused | {str(cause).splitlines()[0][:120]}"
    sys.stdout.write(f"| {Path(opened.location).name} | {opened.version} | {how} | {told} |\n")


if __name__ == "__main__":
    main(tyro.cli(SparkConfig))

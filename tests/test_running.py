"""Running: Beam's options are checked, the embedded runner is the default, errors are plain."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipelines.running import beam_options, run
from schemas.command import RetryLater


def runner_of(*arguments) -> str:
    return beam_options(arguments).view_as(StandardOptions).runner


def test_the_default_runner_is_the_embedded_one():
    assert runner_of() == "FnApiRunner"


@pytest.mark.parametrize("name", ["FlinkRunner", "DataflowRunner", "SparkRunner", "PrismRunner"])
def test_a_runner_that_is_asked_for_is_used(name):
    assert runner_of(f"--runner={name}") == name


@pytest.mark.parametrize("name", ["DaskRunner", "dask", "apache_beam.runners.dask.DaskRunner"])
def test_the_dask_runner_is_refused(name):
    with pytest.raises(
        ValueError, match=r"DaskRunner loses tagged outputs .* use FnApiRunner, Flink"
    ):
        beam_options([f"--runner={name}"])


@pytest.mark.parametrize(
    "arguments",
    [["--runer=FlinkRunner"], ["--direct_num_worker=2"], ["--wrong"], ["stray"]],
)
def test_an_option_that_beam_does_not_know_is_refused(arguments):
    with pytest.raises(ValueError, match=f"Beam does not know these options: {arguments[0]}"):
        beam_options(arguments)


def test_beam_s_own_options_are_read():
    options = beam_options(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    assert options.view_as(DirectOptions).direct_num_workers == 2
    assert options.view_as(DirectOptions).direct_running_mode == "multi_threading"


def failing(error: Exception, *arguments) -> beam.Pipeline:
    def fail(_):
        raise error

    pipeline = beam.Pipeline(options=beam_options(arguments))
    _ = pipeline | beam.Create([1]) | "Fail" >> beam.Map(fail)
    return pipeline


THREADS = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")


@pytest.mark.parametrize("arguments", [(), THREADS])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            ValueError("7 of 9 records are bad; see /q"),
            ValueError,
            "7 of 9 records are bad; see /q",
        ),
        (RetryLater("again later"), RetryLater, "again later"),
        (PermissionError(13, "Permission denied", "/x"), PermissionError, "Permission denied"),
        (OSError(28, "No space left on device"), OSError, "No space left on device"),
        (EOFError("ended early"), OSError, "ended early"),
    ],
)
def test_a_step_s_error_comes_back_as_itself_with_its_message(arguments, error, kind, message):
    with pytest.raises(kind) as raised:
        run(failing(error, *arguments))
    assert message in str(raised.value)
    assert "while running" not in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(Exception, match="ours") as raised:
        run(failing(KeyError("ours")))
    assert not isinstance(raised.value, (ValueError, OSError, RetryLater))


def test_a_pipeline_that_works_ends_quietly(tmp_path):
    pipeline = beam.Pipeline(options=beam_options([]))
    _ = (
        pipeline
        | beam.Create([str(tmp_path / "done")])
        | beam.Map(lambda path: open(path, "w").close())
    )
    run(pipeline)
    assert (tmp_path / "done").exists()

"""Dataflow: templates with the jobs' flags, options of Beam's, what its client makes of a job."""

import dataclasses
import importlib
import json
import re
import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)

from pipelines.idf import IdfConfig
from pipelines.running import beam_options
from pipelines.teacher import TeacherConfig
from tests import deploy_kit as kit
from tests.test_deploy_clusters import page_commands
from tests.test_lock import _ENTRY, locked, normal

FOLDER = kit.DEPLOY / "dataflow"
CONFIGS = {"idf": IdfConfig, "teacher": TeacherConfig}
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.options"))}
GPU = "type:nvidia-l4;count:1;install-nvidia-driver"
TEACHER = kit.DEPLOY / "demo" / "teacher-zh-tiny"


@pytest.fixture
def launch(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("launch")
    sys.modules.pop("launch", None)
    sys.modules.pop("metadata", None)


def options(name, *more):
    return beam_options([*kit.options_in(FILES[name]), *more])


def flags_of(config):
    left_out = {"runner_options", "plan", "stall_minutes"}
    return {one.name for one in dataclasses.fields(config)} - left_out


# ----- templates


@pytest.mark.parametrize("job", CONFIGS)
def test_a_template_is_what_the_job_s_flags_make_of_it(job, launch):
    metadata = importlib.import_module("metadata")
    written = json.loads((FOLDER / f"{job}.json").read_text("utf-8"))
    assert written == metadata.metadata(job)


@pytest.mark.parametrize(("job", "config"), CONFIGS.items())
def test_a_template_s_parameters_are_the_job_s_flags_and_options_of_beam_s(job, config):
    found = {
        one["name"]: one
        for one in json.loads((FOLDER / f"{job}.json").read_text("utf-8"))["parameters"]
    }
    others = found.keys() - flags_of(config) - {"job"}
    assert flags_of(config) <= found.keys()
    assert others == {
        "sdk_container_image",
        "sdk_location",
        "dataflow_service_options",
        "experiments",
        "number_of_worker_harness_threads",
        "disk_size_gb",
    }
    beam_options([f"--{name}=1" for name in others])
    optional = {one.name for one in dataclasses.fields(config) if not is_required(one)}
    assert {name for name, one in found.items() if one.get("isOptional")} == (
        (optional & found.keys()) | others
    )
    for one in found.values():
        assert {"name", "label", "helpText"} <= one.keys()
        assert one["helpText"]


def is_required(field):
    return field.default is dataclasses.MISSING


def test_no_flag_of_a_job_is_an_option_of_beam_s_so_that_a_launcher_can_tell_them_apart():
    known = set(PipelineOptions([]).get_all_options(display_warnings=False))
    assert {name for config in CONFIGS.values() for name in flags_of(config)} & known == set()


def test_a_launcher_makes_the_job_s_command_line_of_parameters(launch):
    words = launch.command_line(
        [
            "--job=teacher",
            "--corpus=gs://b/texts/*.txt.gz gs://b/more.txt",
            "--idf=gs://b/idf",
            "--teacher=/teacher",
            "--out=gs://b/teacher",
            "--date=2026-11-21",
            "--keep_text=false",
            "--pooling=idf cls",
            "--rows_per_part=4096",
            "--runner=DataflowRunner",
            "--project=my-project",
            f"--dataflow_service_options=worker_accelerator={GPU}",
        ]
    )
    assert words[0] == "teacher"
    config = kit.parsed(words, "pipelines")
    assert config == TeacherConfig(
        corpus=("gs://b/texts/*.txt.gz", "gs://b/more.txt"),
        idf="gs://b/idf",
        teacher="/teacher",
        out="gs://b/teacher",
        date="2026-11-21",
        keep_text=False,
        pooling=("idf", "cls"),
        rows_per_part=4096,
        runner_options=(
            "--runner=launch.DataflowRunner",
            "--project=my-project",
            f"--dataflow_service_options=worker_accelerator={GPU}",
        ),
    )
    assert beam_options(config.runner_options).view_as(GoogleCloudOptions).project == "my-project"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--job=train"], "--job must be one of idf, teacher, got 'train'"),
        (["--out=x"], "--job must be one of idf, teacher, got ''"),
        (["--job=idf", "out=x"], "the form --name=value, got 'out=x'"),
        (["--job=idf", "--deduplicate=yes"], "deduplicate must be true or false, got 'yes'"),
    ],
)
def test_a_launcher_refuses(arguments, told, launch):
    with pytest.raises(ValueError, match=re.escape(told)):
        launch.command_line(arguments)


# ----- options


@pytest.mark.parametrize("name", FILES)
def test_beam_takes_the_options_and_they_name_our_image_and_where_to_stage(name):
    found = options(name)
    cloud, workers = found.view_as(GoogleCloudOptions), found.view_as(WorkerOptions)
    assert found.view_as(StandardOptions).runner == "DataflowRunner"
    assert cloud.project
    assert cloud.region
    assert cloud.temp_location.startswith("gs://")
    assert cloud.staging_location.startswith("gs://")
    version = re.search(r'^version = "(.*)"', (kit.ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert workers.sdk_container_image.endswith(f"/ltd-bert/dataflow:{version}")
    assert workers.disk_size_gb >= 50  # torch's CUDA libraries alone are gigabytes
    assert workers.machine_type
    assert workers.max_num_workers


def test_a_gpu_comes_with_one_process_that_embeds_one_shard_at_a_time():
    found = options("gpu")
    assert found.view_as(GoogleCloudOptions).dataflow_service_options == [
        f"worker_accelerator={GPU}"
    ]
    debug = found.view_as(DebugOptions)
    assert debug.experiments == ["no_use_multiple_sdk_containers"]
    assert debug.number_of_worker_harness_threads == 1
    assert found.view_as(WorkerOptions).machine_type.startswith("g2-")  # the only ones with an L4


def test_a_gpu_is_asked_for_by_the_job_or_by_the_service_option_but_not_by_both():
    commands = page_commands([kit.DEPLOY / "README.md"])
    teachers = [kit.parsed(words, package) for package, words in commands if words[0] == "teacher"]
    asked = {}
    for config in teachers:
        service = beam_options(config.runner_options).view_as(GoogleCloudOptions)
        asked[config.accelerator is not None] = bool(service.dataflow_service_options)
        assert config.dtype == "bfloat16"  # auto is what a launcher without a GPU computes in
    assert asked == {True: False, False: True}
    assert options("gpu-step").view_as(GoogleCloudOptions).dataflow_service_options is None
    assert options("cpu").view_as(GoogleCloudOptions).dataflow_service_options is None


def test_the_template_of_the_page_is_run_with_parameters_that_it_has():
    text = (kit.DEPLOY / "README.md").read_text("utf-8")
    given = dict(
        one.split("=", 1)
        for words in re.findall(r'--parameters "(.*?)"', text)
        for one in words.split(",")
    )
    template = json.loads((FOLDER / f"{given['job']}.json").read_text("utf-8"))
    known = {one["name"]: one for one in template["parameters"]}
    assert given.keys() <= known.keys()
    assert {name for name, one in known.items() if not one.get("isOptional")} <= given.keys()
    for name, value in given.items():
        for regex in known[name].get("regexes", []):
            assert re.fullmatch(regex, value), name
    # The options of gpu.options that gcloud has no flags for.
    listed = dict(one.removeprefix("--").split("=", 1) for one in kit.options_in(FILES["gpu"]))
    same = listed.keys() & given.keys() - {"sdk_container_image"}
    assert {name: given[name] for name in same} == {name: listed[name] for name in same}
    assert len(same) == 5


def test_spark_s_options_are_beam_s_and_stage_nothing():
    from apache_beam.transforms.environments import python_sdk_dependencies

    found = beam_options(kit.options_in(kit.DEPLOY / "spark" / "spark.options"))
    assert found.view_as(StandardOptions).runner == "PortableRunner"
    portable = found.view_as(PortableOptions)
    assert portable.environment_type == "EXTERNAL"
    assert portable.environment_config == "localhost:50000"
    assert python_sdk_dependencies(found) == []
    text = (kit.DEPLOY / "README.md").read_text("utf-8")
    assert f"apache/beam_spark3_job_server:{locked()['apache-beam']} " in text


# ----- image


def test_the_lock_has_all_of_the_other_one_and_google_s_clients():
    text = (FOLDER / "requirements.lock").read_text("utf-8")
    assert _ENTRY.sub("", text).strip() == ""
    found = {normal(name): version for name, version, _ in _ENTRY.findall(text)}
    assert {name: found.get(name) for name in locked()} == locked()
    assert {"google-cloud-storage", "google-cloud-dataflow-client"} <= found.keys()
    assert not re.search(r"https?://|--index|--extra-index", text)


def test_the_launcher_is_where_the_template_s_environment_says():
    found = kit.instructions(kit.DEPLOY / "images" / "dataflow.Dockerfile")
    environment = " ".join(rest for name, rest in found if name == "ENV")
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/launch.py" in environment
    copies = [rest.split() for name, rest in found if name == "COPY"]
    assert ["deploy/dataflow/launch.py", "/template/"] in copies
    # `--teacher /teacher` of the page
    assert ["deploy/demo/teacher-zh-tiny", "/teacher"] in copies
    assert "--no-binary=jieba,google-apitools" in "".join(rest for _, rest in found)


# ----- what Dataflow would get


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A corpus and its IDF table."""
    folder = tmp_path_factory.mktemp("dataflow")
    (folder / "texts.txt").write_text("今天天气怎么样\n北京好玩吗\n怎么学习中文\n", "utf-8")
    command = [sys.executable, "-m", "pipelines", "idf", "--corpus", folder / "texts.txt"]
    subprocess.run([*command, "--out", folder / "idf"], check=True, capture_output=True)
    return folder


def described(folder, name, **flags):
    """The workers that Dataflow would start, by its own client, and each step's hints."""
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    from apache_beam.runners.dataflow.internal import apiclient

    from pipelines import teacher
    from pipelines.reading import plan_ranges

    found = options(name, "--no_auth", "--dry_run=true", "--job_name=test")
    config = TeacherConfig(
        corpus=(str(folder / "texts.txt"),),
        idf=str(folder / "idf"),
        teacher=str(TEACHER),
        out=str(folder / "out"),
        date="2026-11-21",
        **flags,
    )
    tools, inputs = teacher.load_tools(config), plan_ranges(config.corpus, config.fields)
    target = teacher.aim(config, tools, inputs)
    job = teacher.build(config, inputs, tools, target, found).run().job
    environment = apiclient.Environment(
        proto_pipeline_staged_url="",
        packages=[],
        options=found,
        environment_version="0",
        proto_pipeline=job.proto_pipeline,
        pipeline_proto_hash="",
    ).proto
    components = job.proto_pipeline.components
    hints = {
        one.unique_name: {
            key: value.decode()
            for key, value in components.environments[one.environment_id].resource_hints.items()
        }
        for one in components.transforms.values()
        if one.environment_id
    }
    (pool,) = environment.worker_pools
    return pool, environment, {step: one for step, one in hints.items() if one}


def test_dataflow_gets_gpu_workers_with_our_image(counted):
    pool, environment, hints = described(counted, "gpu")
    assert pool.machine_type == "g2-standard-8"
    assert pool.disk_size_gb == 50
    assert pool.autoscaling_settings.max_num_workers == 8
    images = {one.container_image for one in pool.sdk_harness_container_images}
    assert images == {options("gpu").view_as(WorkerOptions).sdk_container_image}
    assert f"worker_accelerator={GPU}" in environment.service_options
    assert "no_use_multiple_sdk_containers" in environment.experiments
    assert hints == {}


def test_dataflow_gets_a_gpu_hint_for_the_embedding_step_alone(counted):
    accelerator = "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver"
    _, environment, hints = described(counted, "gpu-step", accelerator=accelerator, min_ram="16GB")
    assert list(environment.service_options) == []
    assert {step.partition("/")[0] for step in hints} == {"EmbedShards"}
    for one in hints.values():
        assert one["beam:resources:accelerator:v1"] == accelerator
        assert one["beam:resources:min_ram_bytes:v1"] == str(16 * 10**9)


def test_a_launcher_hands_the_job_over_and_leaves(counted):
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    parameters = {
        "job": "idf",
        "corpus": counted / "texts.txt",
        "out": counted / "handed-over",
        "sdk_container_image": "registry.example.com/ltd-bert/dataflow:0.1.0",
        "sdk_location": "container",
        "runner": "DataflowRunner",
        "project": "my-project",
        "region": "europe-west4",
        "temp_location": "gs://my-bucket/temp",
        "staging_location": "gs://my-bucket/staging",
        "job_name": "ltd-idf",
        "dry_run": "true",
    }
    command = [sys.executable, FOLDER / "launch.py", "--no_auth"]
    command += [f"--{name}={value}" for name, value in parameters.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=kit.ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (counted / "handed-over").exists()

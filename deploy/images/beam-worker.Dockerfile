# The image of Beam's workers on Flink and Spark: Beam's entry point, torch and the project; for
# Dataflow, dataflow.Dockerfile adds to it. From the root of the checkout:
#
#   docker build -f deploy/images/beam-worker.Dockerfile -t REGISTRY/ltd-bert/beam-worker:0.1.0 .
#
# No CUDA image is needed below it: torch's wheel brings its CUDA 13 libraries, a GPU node only the
# driver (580 or newer). The bases may name mirrors, best with digests.
ARG BEAM=apache/beam_python3.11_sdk:2.77.0
ARG BASE=python:3.11.14-slim-bookworm
FROM ${BEAM} AS beam

FROM ${BASE}
COPY --from=beam /opt/apache/beam /opt/apache/beam

# The lock is complete, so nothing is left to be resolved; jieba has no wheel.
COPY deploy/requirements.lock /opt/ltd-bert/
RUN python -m pip install --no-cache-dir --no-deps --require-hashes --no-build-isolation \
    --only-binary=:all: --no-binary=jieba --requirement /opt/ltd-bert/requirements.lock

# --no-index: the build must not fetch anything that the lock does not name.
COPY pyproject.toml setup.py README.md LICENSE /opt/ltd-bert/
COPY schemas /opt/ltd-bert/schemas
COPY pipelines /opt/ltd-bert/pipelines
COPY distill_jobs /opt/ltd-bert/distill_jobs
RUN python -m pip install --no-cache-dir --no-deps --no-index --no-build-isolation /opt/ltd-bert \
    && useradd --uid 1000 --no-create-home ltd

# Without RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT the entry point makes an environment of its own
# under /opt, which this user may not. Dataflow mounts the driver's libraries under
# /usr/local/nvidia.
ENV HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["/opt/apache/beam/boot"]

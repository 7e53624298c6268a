# The image of everything that is not a Beam worker: nights, trainings, and what submits Beam jobs.
# Ray, Beam, torch and the project, in Ray's own image, so that KubeRay can start clusters from it.
# From the root of the checkout:
#
#   docker build -f deploy/images/ray.Dockerfile -t REGISTRY/ltd-bert/ray:0.1.0 .
#
# One image serves CPUs and GPUs: torch's wheel brings its CUDA 13 libraries, a GPU node only the
# driver (580 or newer). BASE may name a mirror, best with a digest.
ARG BASE=rayproject/ray:2.60.0-py311-cpu
FROM ${BASE}

# Into the image's own Python, over what it has: a login shell, from which KubeRay may start Ray,
# would not see another environment. The lock is complete, so nothing is left to be resolved; jieba
# has no wheel.
USER root
COPY deploy/requirements.lock /opt/ltd-bert/
RUN python -m pip install --no-cache-dir --no-deps --require-hashes --no-build-isolation \
    --only-binary=:all: --no-binary=jieba --requirement /opt/ltd-bert/requirements.lock

# --no-index: the build must not fetch anything that the lock does not name.
COPY pyproject.toml setup.py README.md LICENSE /opt/ltd-bert/
COPY schemas /opt/ltd-bert/schemas
COPY pipelines /opt/ltd-bert/pipelines
COPY distill_jobs /opt/ltd-bert/distill_jobs
RUN python -m pip install --no-cache-dir --no-deps --no-index --no-build-isolation /opt/ltd-bert

# At run time nothing is fetched, nothing is reported, and only /tmp and the volume are written.
ENV HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
# The user ray of the base image, as numbers: Kubernetes cannot tell that a name is not root.
USER 1000:100
WORKDIR /tmp
CMD ["python", "-m", "distill_jobs", "--help"]

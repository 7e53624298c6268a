# The image of Dataflow: that of the Beam workers with Google's clients, and the launcher of flex
# templates, so that one image serves as worker (--sdk_container_image) and as template. From the
# root of the checkout, after beam-worker.Dockerfile:
#
#   docker build -f deploy/images/dataflow.Dockerfile \
#       --build-arg BASE=REGISTRY/ltd-bert/beam-worker:0.1.0 -t REGISTRY/ltd-bert/dataflow:0.1.0 .
#
# LAUNCHER has no versions that mean anything outside Google; name it with a digest.
ARG LAUNCHER=gcr.io/dataflow-templates-base/python311-template-launcher-base:latest
ARG BASE=registry.example.com/ltd-bert/beam-worker:0.1.0
FROM ${LAUNCHER} AS launcher

FROM ${BASE}
# Dataflow's machines run one job, and mount folders that only root may write.
USER 0:0
COPY --from=launcher /opt/google/dataflow/python_template_launcher \
    /opt/google/dataflow/python_template_launcher

# All that the base has, and what apache-beam[gcp] needs beside it; two of them have no wheel.
COPY deploy/dataflow/requirements.lock /opt/ltd-bert/requirements-dataflow.lock
RUN python -m pip install --no-cache-dir --no-deps --require-hashes --no-build-isolation \
    --only-binary=:all: --no-binary=jieba,google-apitools \
    --requirement /opt/ltd-bert/requirements-dataflow.lock

# Workers have no folder in common, so the teacher comes with them: TEACHER is its folder in the
# checkout, `--teacher /teacher` its name from then on.
ARG TEACHER=deploy/demo/teacher-zh-tiny
COPY ${TEACHER} /teacher
COPY deploy/dataflow/launch.py /template/
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/launch.py
# Beam's entry point, which the base has set, is what workers need; a template's launch calls the
# launcher by its path.

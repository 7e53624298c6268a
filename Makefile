VENV ?= .venv
PYTHON ?= python3
# For the small build of torch on machines without a GPU: make demo TORCH_BACKEND=cpu
TORCH_BACKEND ?=
BIN := $(VENV)/bin
COMPILE = $(BIN)/uv pip compile pyproject.toml --generate-hashes --quiet --no-header --no-annotate \
    --no-emit-index-url --python-version 3.11 --python-platform x86_64-manylinux_2_28

.DEFAULT_GOAL := help
.PHONY: help setup demo flink-up flink-demo flink-down test test-faults test-cluster check format \
    docs lock bench-speed clean

help:  ## show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## make the virtual environment and install everything into it

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(if $(TORCH_BACKEND),--torch-backend=$(TORCH_BACKEND)) \
	    --constraints constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## run the whole job on the bundled sample: corpus to evaluation report
	PATH="$(CURDIR)/$(BIN):$$PATH" deploy/demo/run.sh

flink-up: setup  ## start Flink on this machine: two TaskManagers, Beam's job server; needs Java 17, Maven
	$(BIN)/python deploy/flink/cluster.py up

flink-demo: setup  ## run idf and teacher on that Flink and embedded; the tables must be the same bytes
	PATH="$(CURDIR)/$(BIN):$$PATH" deploy/flink/demo.sh

flink-down:  ## end what flink-up has started
	$(PYTHON) deploy/flink/cluster.py down

test: setup  ## run the tests that need no cluster
	$(BIN)/python -m pytest -q

test-faults: setup  ## crash, starve and corrupt everything; write the table in docs/reliability.md
	@mkdir -p work
	$(BIN)/python -m pytest -q -m faults tests -o junit_family=xunit1 --junitxml=work/faults.xml
	$(BIN)/python -m tests.faults.table work/faults.xml docs/reliability.md

test-cluster: setup  ## run the tests that start Ray and Flink clusters and kill parts of them
	$(BIN)/python -m pytest -q -m cluster

check: setup  ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## write what is generated: docs/tables.md, Dataflow's templates
	$(BIN)/python -m schemas.tables > docs/tables.md
	PYTHONPATH=. $(BIN)/python deploy/dataflow/metadata.py

lock: setup  ## write the locks of the images: every package, with its hashes
	$(COMPILE) --constraint constraints.txt --output-file deploy/requirements.lock
	$(COMPILE) --extra gcp --constraint deploy/requirements.lock \
	    --output-file deploy/dataflow/requirements.lock

bench-speed: demo  ## measure size, speed and start of students beside BERTs of four shapes
	$(BIN)/python -m tests.bench.speed --preparer work/demo/bilstm \
	    --sentences work/demo/sample/corpus.txt --out work/bench
	$(BIN)/python -m tests.bench.start --preparer work/demo/bilstm

clean:  ## remove what the demos wrote
	@test ! -e work/flink/processes.json || $(PYTHON) deploy/flink/cluster.py down
	rm -rf work

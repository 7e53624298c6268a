#!/usr/bin/env bash
# The main jobs on the cluster of `make flink-up` and once more on the embedded runner: the tables
# must be the same to the byte.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/work/flink-demo  # whole paths: on a real cluster workers are not where we are
teacher=$PWD/deploy/demo/teacher-zh-tiny
options=$(python deploy/flink/cluster.py options)
read -ra flink <<< "$options"
# As many threads as a worker of the cluster: what a matrix product rounds may depend on them.
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > 1 ? cores / 2 : 1))}
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
timed() {  # WORDS COMMAND...
  local began=$SECONDS
  "${@:2}" > "$work/last.json"
  printf '  %s: %s s\n' "$1" $((SECONDS - began))
}
jobs() {  # FOLDER [Beam's options]
  timed idf python -m pipelines idf --corpus "$work/sample/corpus.txt" --out "$1/idf" -- "${@:2}"
  timed teacher python -m pipelines teacher --corpus "$work/sample/corpus.txt" --idf "$1/idf" \
    --teacher "$teacher" --out "$1/teacher" --date 2026-01-01 --rows-per-part 2000 -- "${@:2}"
}

rm -rf "$work"
mkdir -p "$work"
step "1/4 sample: write a corpus"
timed sample python -m pipelines sample --out "$work/sample"
step "2/4 on Flink: ${flink[*]}"
jobs "$work/flink" "${flink[@]}"
step "3/4 on the embedded runner"
jobs "$work/embedded" --runner=FnApiRunner
step "4/4 are they the same?"
for table in idf teacher; do
  python deploy/flink/same.py "$work/flink/$table" "$work/embedded/$table"
done

#!/usr/bin/env bash
# The main job, end to end, on the bundled sample and the bundled teacher. A second run reuses
# what the first one made; `make clean` forgets it.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=work/demo
teacher=deploy/demo/teacher-zh-tiny
quiet() { "$@" > "$work/last.json"; }
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
say() {  # name=key pairs from the last summary
  python - "$work/last.json" "$@" <<'PY'
import json, sys
summary = json.load(open(sys.argv[1], encoding="utf-8"))
print("  " + ", ".join(f"{name} {summary[key]}" for name, key in (a.split("=") for a in sys.argv[2:])))
PY
}
mkdir -p "$work"
began=$SECONDS

step "1/7 sample: write a corpus with intents and paraphrases"
quiet python -m pipelines sample --out $work/sample
say sentences=corpus intents=intents

step "2/7 idf: in how many sentences does each word occur"
quiet python -m pipelines idf --corpus $work/sample/corpus.txt --out $work/idf
say sentences=n_docs words=words reused=reused

step "3/7 teacher: embed every sentence once, into the store"
quiet python -m pipelines teacher --corpus $work/sample/corpus.txt --idf $work/idf \
  --teacher $teacher --out $work/teacher --date 2026-01-01
say new=new reused=already_done seconds=teacher_seconds tokens/s=tokens_per_second

step "4/7 teacher: embed the labelled sentences, for comparison only"
quiet python -m pipelines teacher --corpus "$work/sample/eval/*/*.tsv" \
  --fields text sentence1 sentence2 query document --idf $work/idf \
  --teacher $teacher --out $work/labelled --date 2026-01-01 --pooling idf mean cls
say new=new reused=already_done seconds=teacher_seconds

for student in bilstm static; do
  step "5/7 train: distil the $student student from the store"
  quiet python -m distill_jobs train --store $work/teacher --out $work/$student-training \
    --student $student --epochs 6
  say steps=steps seconds=seconds spearman=spearman cosine=cosine reused=already_done

  step "6/7 export: the $student student as a folder that serves by itself"
  quiet python -m distill_jobs export --training $work/$student-training --out $work/$student
  say parameters=parameters bytes=file_bytes reused=reused
done

step "7/7 evaluate: teacher, students and a baseline on the labelled sets"
python -m distill_jobs evaluate --tasks $work/sample/eval --teacher-store $work/labelled \
  --student bilstm=$work/bilstm --student static=$work/static --out $work/report > "$work/last.json"
printf '\nThe whole job took %s s. Report: %s\n' $((SECONDS - began)) "$work/report/report.html"

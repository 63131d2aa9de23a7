#!/usr/bin/env bash
# Makes a world with known truth and indexes it into manifests/tasks/, for recipes/finetune/synth_*.yaml.
# Usage: examples/index_synth_pack.sh [SCENES]   (of each kind; 400 unless said otherwise)
set -euo pipefail
scenes=${1:-400}
mkdir -p manifests/tasks
msgfm data synth synth_tasks --scenes "$scenes" --seed 21 --size 128 \
    --kinds sen12ms,sen12ms_cr,rgb,segmentation,buildings,change
# four times finer than the bands, which are degraded once more by four
msgfm data synth synth_tasks_pan --scenes "$((scenes / 2))" --seed 21 --size 384 --kinds pansharpen

index() {  # KIND LAYOUT FOLDER OPTION...
    local out=manifests/tasks/synth_$1.parquet
    shift
    msgfm data index "$@" --out "$out"
}
index sen12ms sen12ms synth_tasks/sen12ms
index sen12ms_cr sen12ms-cr synth_tasks/sen12ms_cr
index rgb ucmerced synth_tasks/rgb
index segmentation potsdam synth_tasks/segmentation --sensor rgb
index buildings whu-buildings synth_tasks/buildings
index change levir-cd synth_tasks/change
index pansharpen spacenet2 synth_tasks_pan/pansharpen

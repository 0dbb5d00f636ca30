#!/usr/bin/env bash
# What label propagation and pre-training add on MNIST with 10 and 20 labels, in four minutes of a GPU: 10,000 images, the
# full network, four arms side by side on one split, as many of the 200 epochs as fit (a probe of 3 epochs tells).
#
#   benchmarks/gpu_learning.sh <folder with MNIST's idx files>
#   benchmarks/gpu_learning.sh tiny     a try without a GPU: the built-in digits, an eighth of the channels, 6 epochs
#
# The same command goes on where it was stopped, with the epochs that the first one chose (EPOCHS=<number> says them).
# OUT=<folder> takes runs, weights and tables, WHEELS=<folder> is installed first: see gpu_loop.sh.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-stores/gpu} limit=${LIMIT:-215} python=${PYTHON:-python3} split=${SPLIT:-0}
mkdir -p "$out" && out=$(cd "$out" && pwd)
export PYTHONPATH=$PWD/src PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
if [ -n "${WHEELS:-}" ]; then
    $python -m pip install -q --no-index --no-deps --target "$out/site" "$WHEELS"/*.whl || exit 1
    export PYTHONPATH=$PYTHONPATH:$out/site
fi
common=(experiment=learning_mnist model.divisor=1 "split=$split" wandb.mode=disabled runs_dir="$out/runs" store_dir="$out/stores")
common+=(learning.initial=10 learning.budget=10)
if [ "${1:?folder with the idx files of MNIST, or tiny}" = tiny ]; then
    common+=(dataset=digits dataset.images=null dataset.test_images=null model.divisor=8 training.iterations=5)
    accelerator=cpu semi=quick most=6
else
    common+=(dataset.root="$1")
    accelerator=gpu semi=mnist_short most=200
fi
arms() { # name, epochs, cycles, epochs of pre-training: all four arms side by side, each until the time is over
    local name=$1 epochs=$2 cycles=$3 before=$4 left=$((limit - SECONDS)) pre words
    if [ $left -lt 20 ]; then echo "== $name: the time is over, the same command goes on"; return; fi
    for pre in none short; do
        words=(pretraining=$pre)
        [ $pre = none ] || words+=(pretraining.epochs="$before")
        for way in none "$semi"; do
            timeout -s INT -k 10 $left $python -m seekloop learn "${common[@]}" "${words[@]}" semi="$way" \
                experiment_name="$name" accelerator=$accelerator learning.cycles="$cycles" \
                training.epochs="$epochs" training.horizon=$((epochs + epochs / 20 + 1)) \
                >> "$out/$name-$pre-$way.log" 2>&1 &
        done
    done
    wait
}
chosen="$out/epochs-$split.txt"
[ -n "${EPOCHS:-}" ] && echo "$EPOCHS" > "$chosen"
if [ ! -s "$chosen" ]; then
    arms "probe-$split" 6 1 3
    $python - "$out/runs/probe-$split" $((limit - SECONDS)) $most > "$chosen" <<'PYTHON' || { cat "$out"/probe-*.log; exit 1; }
import sys
from pathlib import Path
import pandas as pd
files = sorted(Path(sys.argv[1]).glob("*/epochs.parquet"))
assert len(files) == 4, f"{len(files)} of 4 probes finished"
late = pd.concat(table[table["epoch"] > 0] for table in map(pd.read_parquet, files))
slowest = late.groupby("stage")["seconds"].max()
print(f"seconds of an epoch: {slowest.to_dict()}", file=sys.stderr)
rest = 0.8 * int(sys.argv[2]) - 25 - 20 * slowest.max()  # of starting, and of 20 epochs of pre-training
print(max(5, min(int(sys.argv[3]), int(rest / (2 * slowest.max())))))
PYTHON
fi
epochs=$(cat "$chosen")
echo "== $epochs epochs a cycle, $((limit - SECONDS)) s left"
arms "learning-$split" "$epochs" 2 20
tail -qn 1 "$out/learning-$split"-*.log || exit 0
$python -m seekloop status "$out/runs/learning-$split"
$python -m seekloop report "$out/runs/learning-$split" by=pretraining,semi wandb=disabled || true

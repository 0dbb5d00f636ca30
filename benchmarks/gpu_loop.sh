#!/usr/bin/env bash
# What a GPU does for the loop, in four minutes at most, the most valuable first: equality with engine=reference, rounds
# over 118,000 and a million images, lockstep at VOC's and COCO's size, shares of the measured bandwidth and product.
#
#   benchmarks/gpu_loop.sh          on a machine with a GPU
#   benchmarks/gpu_loop.sh tiny     a try of a minute without one
#
# OUT=<folder> takes the results (JSON lines) and the stores, WHEELS=<folder> is installed first where packages are
# missing and nothing can be fetched: hydra-core, omegaconf, antlr4-python3-runtime, pydantic, pydantic-core,
# annotated-types, typing-inspection, typing-extensions, 3 MB together; numba for the coverage metric. Not faiss, not W&B.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-stores/gpu} limit=${LIMIT:-235} python=${PYTHON:-python3}
mkdir -p "$out" && out=$(cd "$out" && pwd)
export PYTHONPATH=$PWD/src PYTHONUNBUFFERED=1
if [ -n "${WHEELS:-}" ]; then
    $python -m pip install -q --no-index --no-deps --target "$out/site" "$WHEELS"/*.whl || exit 1
    export PYTHONPATH=$PYTHONPATH:$out/site
fi
part() { # name, then the command: what would begin too late is left out, what takes too long is stopped
    local name=$1 left=$((limit - SECONDS))
    shift
    if [ $left -lt 10 ]; then echo "== $name: left out, $left s left"; return; fi
    echo "== $name, $left s left"
    timeout -k 2 $left $python -m "$@" --results "$out/gpu_loop.jsonl" --stores "${STORES:-$out/stores}" \
        || echo "== $name: ended with $?"
}
if [ "${1:-}" = tiny ]; then
    part equality benchmarks.gpu equality --device cpu --rounds 3
    part round benchmarks.gpu round --device cpu --images 2000 --dim 32 --rounds 3
    part lockstep benchmarks.lockstep --size tiny --rounds 3 --reference-queries 0 classifier=svm_torch
    exit
fi
part "equality of the engines" benchmarks.gpu equality
part "a round, 118,000 x 16 x 384" benchmarks.gpu round --images 118000
part "lockstep, VOC's size" benchmarks.lockstep --engine gpu --reference-queries 0
part "a round, 1,000,000 x 16 x 384" benchmarks.gpu round --images 1000000
part "lockstep, COCO's size" benchmarks.lockstep --engine gpu --size coco --reference-queries 0

# make demo and make test do all their own set-up: a virtual environment in .venv and everything in it.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# Without an NVIDIA GPU the CPU build of torch is pinned, see constraints-cpu.txt.
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | head -n 1)
CONSTRAINTS := $(if $(GPU),,-c constraints-cpu.txt)
FAISS := $(if $(GPU),faiss-gpu,faiss-cpu)
STAMP := $(VENV)/.installed
RAY := $(VENV)/.installed-ray

.PHONY: demo demo-app test slow lint bench notebooks docs wheel clean

$(STAMP): pyproject.toml constraints-cpu.txt
	@echo "Installing into $(VENV): $(if $(GPU),6,3) GB, some minutes the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(if $(GPU),,$(BIN)/python -m pip install torch==2.13.0)
	$(BIN)/python -m pip install $(CONSTRAINTS) -e '.[dev,$(FAISS)]'
	touch $(STAMP)

# Only the slow tests start Ray.
$(RAY): $(STAMP)
	$(BIN)/python -m pip install $(CONSTRAINTS) -e '.[ray]'
	touch $(RAY)

# Four representations on the built-in scenes with the built-in backbone: progress, a table, figures.
demo: $(STAMP)
	$(BIN)/seekloop retrieve -m experiment=demo
	$(BIN)/seekloop report runs/demo by=representation

# The page on the built-in scenes, with words about digits; Ctrl-C ends it, and every answer is kept.
demo-app: $(STAMP)
	$(BIN)/seekloop serve collection=scenes backbone=tiny_clip text=tiny_clip

test: $(STAMP) lint
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

slow: $(RAY)
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports

# Hours and up to 30 GB in stores/benchmarks (delete it afterwards): sizes that do not fit are left out, and said to be.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.lockstep
	$(BIN)/python -m benchmarks.lockstep --engine gpu
	$(BIN)/python -m benchmarks.lockstep --engine gpu --size coco --reference-queries 1
	$(BIN)/python -m benchmarks.round
	$(BIN)/python -m benchmarks.round --grids 4x4 --dims 384 --index ivf --reference-rounds 0
	$(BIN)/python -m benchmarks.round --grids 4x4 --dims 384 --index ivfpq --reference-rounds 0
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m benchmarks.extract
	$(BIN)/python -m benchmarks.extract --backbone dinov2_s --random-weights --images 256
	$(BIN)/python -m benchmarks.propagation
	$(BIN)/python -m benchmarks.diffusion
	$(BIN)/python -m benchmarks.regions
	$(BIN)/python -m benchmarks.reranking
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.table --write
	$(BIN)/python -m benchmarks.scale --write

notebooks: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --nbmake notebooks -p no:jaxtyping -o addopts= -o filterwarnings=

docs: $(STAMP)
	$(BIN)/python docs/reference.py
	$(BIN)/zensical build --strict

wheel: $(STAMP)
	$(BIN)/python -m build --wheel

clean:
	rm -rf dist build site .pytest_cache .mypy_cache .ruff_cache

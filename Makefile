# One line a task; each runs in the environment that is active. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help test explore long soak check fmt wheel wheel-code-only wheelhouse lock train folds evaluate cross-validate bundle rejudge \
	device cases docs

PYTHON ?= python
DATA ?= $(or $(LVEDGE_DATA),../shared/data)
RUN ?= runs/default
CV ?= runs/cv
CROSS_VALIDATION ?= benchmarks/results/cross_validation
JOBS ?= 1
FOLD ?= 0
TRAIN_OPTIONS ?=
BUILD ?= build
DIST ?= dist
BUILD_OPTIONS ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

test: ## all tests; those marked "real" need the data
	$(PYTHON) -m pytest

explore: ## the tests that draw their cases, with other cases than the gate's
	LVEDGE_EXPLORE=1 $(PYTHON) -m pytest -q -m "not real" tests/domain tests/casetable tests/runtime

long: ## updates and receiving killed at hundreds of random moments, pycuda over a driver double, a million cases, memory, 20,000 damaged items: JSON
	$(PYTHON) -m benchmarks.fuzz_receiver --real $(DATA)/sunnybrook --out benchmarks/results/fuzz_receiver.json
	$(PYTHON) -m benchmarks.hostile_peers --out benchmarks/results/hostile_peers.json
	$(PYTHON) -m benchmarks.kill_update --kills 300 --out benchmarks/results/kill_update.json
	$(PYTHON) -m benchmarks.kill_receive --kills 200 --out benchmarks/results/kill_receive.json
	$(PYTHON) -m benchmarks.pycuda_double --out benchmarks/results/pycuda_double.json
	$(PYTHON) -m benchmarks.casetable_scale --out benchmarks/results/casetable_scale.json
	$(PYTHON) -m benchmarks.memory --out benchmarks/results/memory.json

soak: ## an hour at 50 pictures a second through the real command: figures as JSON and a plot
	$(PYTHON) -m benchmarks.soak --rate 50 --out benchmarks/results/soak.json --plot benchmarks/results/soak.png

check: ## lint, format, types, import contracts, bandit
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports
	$(PYTHON) -m bandit -q -c pyproject.toml -r lvedge runtime export -x lvedge/casetable
	$(PYTHON) -m bandit -q -c pyproject.toml -r lvedge/casetable -s B608 # names of our own tables; values go through ?

fmt: ## mend what can be mended without thought
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

wheel: ## the wheel, in dist/
	$(PYTHON) -m build --wheel $(BUILD_OPTIONS) --outdir $(DIST)

wheel-code-only: ## a wheel without the non-commercial weights, in dist/
	rm -rf $(BUILD)/code-only
	mkdir -p $(BUILD)/code-only
	git archive HEAD | tar -x -C $(BUILD)/code-only
	rm -r $(BUILD)/code-only/lvedge/weights
	sed -i -e 's/^license = .*/license = "Apache-2.0"/' -e 's|, "lvedge/weights/LICENSE"||' \
		$(BUILD)/code-only/pyproject.toml
	$(PYTHON) -m build --wheel $(BUILD_OPTIONS) --outdir $(DIST) $(BUILD)/code-only

wheelhouse: wheel ## wheels for aarch64 devices without a network, locked by hash, with a bill of materials
	$(PYTHON) wheelhouse/collect.py --wheel $(DIST)/lvedge-*.whl --out $(DIST)/wheelhouse

lock: wheel ## the same, resolved anew: writes the lock files
	$(PYTHON) wheelhouse/collect.py --wheel $(DIST)/lvedge-*.whl --out $(DIST)/wheelhouse --lock

train: ## the networks that ship: every subject of acdc and york, into $(RUN); an interrupted stage goes on
	for stage in perception locator recurrence plot; do \
		lvedge-train $$stage --data $(DATA) --training all --run $(RUN) $(TRAIN_OPTIONS) || exit; done

folds: ## the five runs of the cross-validation, into $(CV): hours; an interrupted one goes on
	for k in 0 1 2 3 4; do for stage in perception locator recurrence; do \
		lvedge-train $$stage --data $(DATA) --fold $$k --run $(CV)/fold$$k $(TRAIN_OPTIONS) || exit; done; done
	lvedge-train quality --data $(DATA) --folds $(CV)

evaluate: ## one run on the subjects that it left out (FOLD): figures as JSON beside it
	lvedge-eval --data $(DATA) --run $(RUN) --fold $(FOLD) --out $(RUN)/accuracy.json

cross-validate: ## all subjects, each by the run in $(CV) that left its fold out: figures, report, plots, model card
	lvedge-eval --data $(DATA) --folds $(CV) --keep $(CV)/scores --jobs $(JOBS) --out $(CROSS_VALIDATION).json \
		--markdown $(CROSS_VALIDATION).md --plots $(CROSS_VALIDATION)
	$(PYTHON) docs/make_card.py
	$(PYTHON) docs/make_accuracy.py

bundle: ## the trained networks as the bundle that ships, with parity proven; `make device` first, for FP16
	lvedge-export bundle --run $(RUN) --data $(DATA) --quality $(CV)/quality.json --accuracy $(CROSS_VALIDATION).json \
		--card docs/model-card.md --half $(BUILD)/onnx --report benchmarks/results/parity.json --out lvedge/weights/default.lvedge
	cd lvedge/weights && sha256sum default.lvedge > default.lvedge.sha256

rejudge: ## the bundle that ships with the quality model and the figures of $(CV): its graphs stay as they are
	rm -rf $(BUILD)/bundle
	mkdir -p $(BUILD)
	lvedge-bundle show lvedge/weights/default.lvedge --unpack $(BUILD)/bundle
	lvedge-bundle make $(BUILD)/bundle --quality $(CV)/quality.json --accuracy $(CROSS_VALIDATION).json \
		--card docs/model-card.md --out lvedge/weights/default.lvedge
	cd lvedge/weights && sha256sum default.lvedge > default.lvedge.sha256

device: ## the graphs for devices, in build/onnx: FP32, FP16 and, where it pays, INT8
	lvedge-export onnx --run $(RUN) --data $(DATA) --out $(BUILD)/onnx \
		--report benchmarks/results/export_onnx.json --plot benchmarks/results/export_onnx_drift.png
	lvedge-export int8 --run $(RUN) --data $(DATA) --onnx $(BUILD)/onnx --out $(BUILD)/onnx \
		--report benchmarks/results/export_int8.json --plot benchmarks/results/export_int8_drift.png

cases: ## the default case table, from the rules and the expert masks of acdc
	$(PYTHON) -m lvedge.training.references --data $(DATA) --out lvedge/weights/references.csv \
		--report benchmarks/results/casetable_references.json
	lvedge-cases make lvedge/weights/cases.sqlite --replace --title "lvedge default case table" \
		--rules lvedge/casetable/data/rules.csv --references lvedge/weights/references.csv

docs: ## docs/cli.md, the model card, and the README's example and figures
	$(PYTHON) docs/make_cli.py
	$(PYTHON) docs/make_card.py
	$(PYTHON) docs/make_readme.py --data $(DATA)

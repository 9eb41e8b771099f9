# make page: a trained model in the browser, in a minute.
# make demo: the eight problems in miniature, from data to answers.   make test, make lint: what a change must pass.
# make quick: the tests to run while working, in a minute and a half.
# make bench: all benchmarks, on an idle machine, into benchmarks/RESULTS.md.   make bench-compare BASE=revision: what got slower.

PYTHON ?= python3
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
DEMO_STEPS ?= 7000

# Below tests/: nothing that trains, searches or serves a whole model.
QUICK := test_registry.py hparams layers evaluation datagen/test_generate.py runs/test_checkpoints.py
QUICK += $(addprefix data/,test_vocabulary.py test_inspection.py) media/test_decode_inputs.py
QUICK += $(addprefix problems/,test_trees.py test_file_problems.py test_odd_files.py)
QUICK += $(addprefix training/,test_step.py test_schedule.py test_learning_rates.py test_loss_scale.py test_mixture.py)
QUICK += $(addprefix decoding/,test_decode.py test_decode_hparams.py test_inputs.py test_sampling.py)

.PHONY: demo page test quick test-slow mutants bench bench-compare lint install-check clean

# Each command is printed before it runs. A second `make demo` goes on where the first one stopped.
demo: $(VENV)/installed
	$(BIN)/t2t-datagen --problem=microworld --data_dir=$(DEMO)/data
	$(BIN)/t2t-trainer --problem=microworld --hparams_set=multimodel_tiny --data_dir=$(DEMO)/data --output_dir=$(DEMO)/run --train_steps=$(DEMO_STEPS) --eval_every=2500
	$(BIN)/t2t-eval --problem=microworld --data_dir=$(DEMO)/data --output_dir=$(DEMO)/run --json_out=$(DEMO)/scores.json
	$(BIN)/t2t-decoder --problem=microworld --data_dir=$(DEMO)/data --output_dir=$(DEMO)/run --show=2
	@echo
	@echo "Where to look next:"
	@echo "  the curves        $(BIN)/tensorboard --logdir=$(DEMO)/run"
	@echo "  type a sentence   $(BIN)/t2t-decoder --problem=microworld_ende --data_dir=$(DEMO)/data --output_dir=$(DEMO)/run --decode_interactive"
	@echo "  all the names     $(BIN)/t2t-trainer --registry_help"
	@echo "  your own data, your own problems: README.md"

# The page of t2t-server with the packaged demo model.
page: $(VENV)/installed
	$(BIN)/t2t-server --demo

# Two processes halve the time; a file's tests share one of them, and what it has made.
test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow or chosen"

quick: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile $(addprefix tests/,$(QUICK))

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

# Whether the tests notice: the code changed in one place at a time. Takes an hour.
mutants: $(VENV)/installed
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tests/mutants.py --workers=2

# ONLY=experts,decoding chooses some.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/run.py $(if $(ONLY),--only=$(ONLY))

bench-compare: $(VENV)/installed
	@test -n "$(BASE)" || { echo "make bench-compare: give BASE=revision, such as BASE=HEAD~1"; exit 2; }
	$(BIN)/python benchmarks/compare.py --base=$(BASE) $(if $(ONLY),--only=$(ONLY))

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A fresh install under each Python that is there, up to a command that answers.
install-check:
	@export TF_CPP_MIN_LOG_LEVEL=2; for python in $(PYTHONS); do \
	  $$python -c "" 2>/dev/null || { echo "$$python: not here, left out"; continue; }; \
	  folder=$$(mktemp -d) && echo "$$python: installing into $$folder" && \
	  $$python -m venv $$folder && $$folder/bin/pip install --quiet --upgrade pip && $$folder/bin/pip install --quiet . && \
	  $$folder/bin/t2t-trainer --registry_help >$$folder/listing && grep -q multimodel_base $$folder/listing && \
	  $$folder/bin/python -W ignore -c "import tensorflow, tensorflow_text, keras" && \
	  echo "$$python: ok" || { echo "$$python: failed"; rm -rf "$$folder"; exit 1; }; \
	  rm -rf "$$folder"; \
	done

$(VENV)/installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info

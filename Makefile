# `make demo` and `make test` are all a newcomer needs: each makes its own .venv first.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test tests check style types links docs bench fuzz clean

help:
	@echo "make demo    set up, backdoor a MiniLM, purify it in several ways, print the table"
	@echo "make test    set up, run every check and test"
	@echo "make check   style, types, spelling and links only"
	@echo "make docs    build the documentation site into build/site; a broken link is an error"
	@echo "make bench   measure evaluator, exports, depth of calls (minutes; nothing is asserted)"
	@echo "make fuzz    fuzz the parsers of hostile files, SECONDS each (60); uses atheris if installed"
	@echo "make clean   remove the environment, caches and build output (never runs/)"

# The stamps make a second call instant, and a changed pin or setting installs again.
.venv/.installed .venv/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	@# Python compiles what is imported; of 20,000 files most never are.
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[$(EXTRA)]'
	@touch $@

.venv/.installed: EXTRA = dev
.venv/.demo: EXTRA = demo

# Of the extras, the demo needs one; `make demo FULL=--full` shows every row.
demo: .venv/.demo
	$(BIN)/prune-env demo $(FULL)

check: style types

style: .venv/.installed links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: .venv/.installed
	$(BIN)/mypy

# A checkout without symbolic links has text files in their place, and no import works.
links:
	@test -L prune_env/agents && test -L prune_env/baselines || { echo "prune_env/agents and \
prune_env/baselines must be symbolic links: git config core.symlinks true, check out again"; exit 1; }
	@! find . -path ./.venv -prune -o -path ./runs -prune -o -xtype l -print | grep . || \
		{ echo "these links lead nowhere"; exit 1; }

# Types are checked while the tests run, which wait a good deal of their time.
test: style
	@$(MAKE) --jobs 2 types tests

# In the order of tests/conftest.py, not that of the number of tests in a file.
tests: .venv/.installed links
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

bench: .venv/.installed
	$(BIN)/python -m tests.benchmarks.evaluator
	$(BIN)/python -m tests.benchmarks.export
	$(BIN)/python -m tests.benchmarks.frames

SECONDS ?= 60
fuzz: .venv/.installed
	@for target in config tokenizer-config tokenizer safetensors index mask tsv csv jsonl image states \
		record record-head record-array surrogate surrogate-head surrogate-array \
		ensemble config-bert config-vit config-llama; do \
		$(BIN)/python -m tests.fuzz.fuzz $$target --seconds $(SECONDS) || exit 1; \
	done

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

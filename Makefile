# Two commands do everything: `make demo` and `make test`. Both make .venv on first use.

PYTHON ?= python3
BIN := .venv/bin
QUESTION ?= What is the capital of France, and what is it known for?
export RAY_ENABLE_UV_RUN_RUNTIME_ENV = 0

.PHONY: demo check test clean

demo: .venv/installed
	$(BIN)/meshtwin generate "$(QUESTION)" --chat --max-tokens 60

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.venv/house $(BIN)/mypy -p meshtwin

test: check
	$(BIN)/python -m pytest

# The link is for mypy, which does not follow an editable install.
.venv/installed: pyproject.toml
	@echo "installing meshtwin in .venv (about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --upgrade pip
	@$(BIN)/python -m pip install -qq -e ".[dev]"
	@mkdir -p .venv/house && ln -sfn ../.. .venv/house/meshtwin
	@touch $@

clean:
	rm -rf .venv build *.egg-info

# Two commands do everything: `make demo` and `make test`. Both make .venv on first use.

PYTHON ?= python3
BIN := .venv/bin
export RAY_ENABLE_UV_RUN_RUNTIME_ENV = 0

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/meshtwin generate "The capital of France is" --max-tokens 40

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.venv/house $(BIN)/mypy -p meshtwin
	$(BIN)/python -m pytest

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	mkdir -p .venv/house && ln -sfn ../.. .venv/house/meshtwin  # mypy does not follow the editable install
	touch .venv/installed

clean:
	rm -rf .venv build *.egg-info

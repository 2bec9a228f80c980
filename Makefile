# make demo    a first look: backs up this checkout, changes it, restores it and compares
# make test    everything that is checked, in one pytest run
# make lint    the quick part of it: ruff, mypy, import contracts, style
# make leak-lab  the leak experiments with runs enough for statistics; ten to thirty minutes, writes docs/leak-lab.md
# make sketch-trials  how often sketches decode, and that they are never wrong; eleven minutes
# make padding-month  what padding costs in a month of real releases; minutes, fetches packages
# make bench   the comparison with restic; minutes, and packages from Debian (see contrib/bench/README.md)
# make bench-sftp  the transport sftp against OpenSSH's own client, near and far away; minutes
# make bench-s3  the comparison with restic on an S3 server of this machine; minutes
# make clean   removes what the other targets made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test lint leak-lab sketch-trials padding-month bench bench-sftp bench-s3 clean

demo: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" contrib/demo/run

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/python -m pytest tests/tidy

leak-lab: $(INSTALLED)
	$(BIN)/python -m pytest tests/leaks --leak-runs 20 --leak-report docs/leak-lab.md

sketch-trials: $(INSTALLED)
	$(BIN)/python contrib/bench/sketch_trials.py

padding-month: $(INSTALLED)
	$(BIN)/python contrib/bench/padding_month.py --work .month

bench: $(INSTALLED)
	contrib/debian/install-bench-packages
	$(BIN)/python contrib/bench/compare.py --bitbacker $(BIN)/bitbacker

bench-sftp: $(INSTALLED)
	$(BIN)/python contrib/bench/sftp.py

bench-s3: $(INSTALLED)
	contrib/debian/install-bench-packages
	$(BIN)/python contrib/bench/s3.py --bitbacker $(BIN)/bitbacker

clean:
	rm -rf $(VENV) .demo .month build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find bitbacker plugins contrib tests -name __pycache__ -prune -exec rm -rf {} +
	find plugins -name '*.so' -delete

$(INSTALLED): pyproject.toml setup.py $(wildcard plugins/bitbacker_plugins/*/*.[ch])
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

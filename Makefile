# The commands of this project: make demo, make test, make lint, make bench, make clean.
#
# Each makes .venv and installs what it needs on its first call. Another
# interpreter: make demo PYTHON=/path/to/python3.12. Only the features of
# GNU make 3.81 and a POSIX sh are used, as on macOS.

PYTHON ?=
PYTEST_ARGS =
BENCH_ARGS =
FUZZ_EXAMPLES = 4000
FAULTS = 100
KERNEL_TESTS = $(patsubst %,tests/test_%.py,fit gradients kernels laws metrics numerics \
  reliability solvers splits top validation varpro)
PARALLEL_TESTS = $(patsubst %,tests/test_%.py,fit gradients kernels solvers splits top varpro)
VENV = .venv
MINIMUM = .venv-minimum
PIP_INSTALL = $(VENV)/bin/python -m pip install -q --disable-pip-version-check

.PHONY: help demo test lint bench reliability fuzz faults parallel check-bounds nojit minimum clean

help:
	@echo "make demo   fit the shipped flight delays, print a table, write a picture"
	@echo "make test   run the tests; options: make test PYTEST_ARGS='-k archive'"
	@echo "make lint   ruff and mypy"
	@echo "make bench  measure wlrmf beside its peers; options: make bench BENCH_ARGS=--help"
	@echo "make reliability  errors of row solves, and all six below but clean: two hours"
	@echo "make fuzz   the laws over many more examples; options: make fuzz FUZZ_EXAMPLES=500"
	@echo "make faults  interrupts, kills, little memory, spoilt files; options: make faults FAULTS=10"
	@echo "make parallel  each test in four threads at once"
	@echo "make check-bounds  the tests with every index of the kernels checked"
	@echo "make nojit  the tests with the kernels as plain Python, but for the large ones"
	@echo "make minimum  the tests with the oldest versions that setup.cfg allows"
	@echo "make clean  remove .venv, caches and build results"

demo: $(VENV)/.installed-demo
	@$(VENV)/bin/wlrmf demo

test: $(VENV)/.installed-test
	@$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

bench: $(VENV)/.installed-demo
	@$(VENV)/bin/python -m benchmarks $(BENCH_ARGS)

reliability: $(VENV)/.installed-test
	@$(VENV)/bin/python -m benchmarks.numerics
	@$(MAKE) fuzz
	@$(MAKE) faults
	@$(MAKE) parallel
	@$(MAKE) check-bounds
	@$(MAKE) nojit
	@$(MAKE) minimum

fuzz: $(VENV)/.installed-test
	@HYPOTHESIS_PROFILE=fuzz FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) \
	  $(VENV)/bin/python -m pytest tests/test_laws.py $(PYTEST_ARGS)

faults: $(VENV)/.installed-test
	@$(VENV)/bin/python -m benchmarks.faults --count $(FAULTS)

parallel: $(VENV)/.installed-test
	@$(VENV)/bin/python -m pytest --parallel-threads=4 $(PARALLEL_TESTS) $(PYTEST_ARGS)

# The checks are compiled in, so these kernels have a cache of their own.
check-bounds: $(VENV)/.installed-test
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR="$(CURDIR)/$(VENV)/bounds-checked" \
	  $(VENV)/bin/python -m pytest $(KERNEL_TESTS) $(PYTEST_ARGS)

nojit: $(VENV)/.installed-test
	@NUMBA_DISABLE_JIT=1 $(VENV)/bin/python -m pytest $(KERNEL_TESTS) $(PYTEST_ARGS)

# The oldest packages that setup.cfg allows, in an environment of their own.
minimum:
	@$(MAKE) VENV=$(MINIMUM) $(MINIMUM)/.installed-minimum
	@NUMBA_CACHE_DIR="$(CURDIR)/$(MINIMUM)/numba" $(MINIMUM)/bin/python -m pytest $(PYTEST_ARGS)

# A stamp a purpose: the second call installs nothing.
$(VENV)/.installed-demo: $(VENV)/.made setup.cfg pyproject.toml
	@echo "installing wlrmf and the demo's packages into $(VENV)"
	@$(PIP_INSTALL) -e '.[cli,io,plot]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.made setup.cfg pyproject.toml
	@echo "installing wlrmf and the tests' packages into $(VENV)"
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.made setup.cfg pyproject.toml
	@echo "installing wlrmf and the linters into $(VENV)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@

# Each floor of setup.cfg, name>=1.2, as a constraint, name==1.2.
$(VENV)/.installed-minimum: $(VENV)/.made setup.cfg pyproject.toml
	@echo "installing wlrmf and the oldest of the tests' packages into $(VENV)"
	@sed -n 's/^ *\([a-z][a-z-]*\)>=/\1==/p' setup.cfg >$(VENV)/floors.txt
	@$(PIP_INSTALL) -e '.[test]' -c $(VENV)/floors.txt
	@touch $@

# Debian's python3 may lack ensurepip, without which venv fails half-way and
# leaves a directory without pip: hence the removal and the two stand-ins.
$(VENV)/.made:
	@set -u; python=; \
	given='$(PYTHON)'; \
	names='python3 python3.14 python3.13 python3.12 python3.11'; \
	enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if [ -n "$$given" ]; then \
	  if "$$given" -c "$$enough" 2>/dev/null; then python=$$given; fi; \
	else \
	  for name in $$names; do \
	    if "$$name" -c "$$enough" 2>/dev/null; then python=$$name; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "wlrmf needs Python 3.11 or newer; tried $${given:-$$names}; name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	trap 'rm -rf $(VENV); exit 1' HUP INT TERM; \
	if $(VENV)/bin/python -c "$$enough; import pip" 2>/dev/null; then :; \
	elif rm -rf $(VENV); "$$python" -m venv $(VENV) >/dev/null 2>&1; then :; \
	elif rm -rf $(VENV); virtualenv -q -p "$$python" $(VENV) >/dev/null 2>&1; then :; \
	elif rm -rf $(VENV); uv venv -q --seed -p "$$python" $(VENV) >/dev/null 2>&1; then :; \
	else \
	  rm -rf $(VENV); \
	  echo "cannot make a virtual environment: apt install python3-venv (or install virtualenv or uv)" >&2; \
	  exit 1; \
	fi; \
	touch $@

clean:
	rm -rf $(VENV) $(MINIMUM) build dist wlrmf.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find wlrmf tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything a fresh machine needs: Python 3.11+ with venv, and an index of packages.
PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check -c constraints.txt
CORE = .venv/bin/python
DEV = .venv-dev/bin/python
OLDEST = .venv-oldest/bin/python
FAST = -m "not slow"
# Two files of tests at a time, so that what a file prepares is prepared once.
PARALLEL = -n 2 --dist loadfile

.PHONY: help clients demo test test-all test-oldest check format docs pictures models mutants clean
help:
	@echo "make demo         detect on the bundled photos and a clip (core install only)"
	@echo "make test         the test suite; make test-all adds the slow ones"
	@echo "make check        ruff, mypy --strict, layers"
	@echo "make docs         the documentation as web pages, in site/; make pictures draws its pictures again"
	@echo "make test-oldest  the core's tests on the oldest supported versions"
	@echo "make clients      the exported files in other people's programs; writes the table of docs/clients.md"
	@echo "make mutants      small faults in the numerics, which their tests must notice; takes a quarter of an hour"
	@echo "make models       make the bundled models again (needs data, see recipes/); QUICK=1: in minutes, to try"

.venv/.done: pyproject.toml constraints.txt scripts/opencv_or_headless.sh
	$(PYTHON) -m venv .venv
	$(CORE) $(PIP) -e .
	sh scripts/opencv_or_headless.sh $(CORE)
	@touch $@

.venv-dev/.done: pyproject.toml constraints.txt scripts/opencv_or_headless.sh
	$(PYTHON) -m venv .venv-dev
	$(DEV) $(PIP) -e '.[dev]'
	sh scripts/opencv_or_headless.sh $(DEV)
	@touch $@

.venv-oldest/.done: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	$(OLDEST) -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e . pytest hypothesis pillow
	sh scripts/opencv_or_headless.sh $(OLDEST) constraints-oldest.txt
	@touch $@

demo: .venv/.done
	.venv/bin/edgessd detect edgessd/zoo/photos --save demo_out --json demo_out/detections.json --timings
	$(CORE) -m edgessd.apps.camera --source demo --output demo_out/clip.mp4 --json demo_out/clip.json --no-window
	@echo
	@echo "Now look at demo_out/: the photos and clip.mp4 with their boxes; *.json has the same as numbers."

test: .venv-dev/.done
	$(DEV) -m pytest $(PARALLEL) $(FAST)

test-all: .venv-dev/.done
	$(DEV) -m pytest

test-oldest: .venv-oldest/.done
	$(OLDEST) -m pytest $(FAST)

mutants: .venv-dev/.done
	nice -n 15 $(DEV) scripts/mutants.py

check: .venv-dev/.done
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .
	$(DEV) -m mypy
	.venv-dev/bin/lint-imports

format: .venv-dev/.done
	$(DEV) -m ruff check --fix .
	$(DEV) -m ruff format .

docs: .venv-dev/.done
	NO_MKDOCS_2_WARNING=1 $(DEV) -m mkdocs build --strict
	@echo "Now open site/index.html; with the search: python3 -m http.server -d site"

pictures: .venv-dev/.done
	$(DEV) scripts/architecture_picture.py
	$(DEV) scripts/pictures.py

clients: .venv-dev/.done
	$(DEV) -m tests.clients --page

models: .venv-dev/.done
	$(DEV) recipes/coco.py $(if $(QUICK),--quick --out runs/quick/coco,--install)
	$(DEV) recipes/animals.py $(if $(QUICK),--quick --out runs/quick/animals)

clean:
	rm -rf .venv .venv-dev .venv-oldest .venv-clients demo_out site build dist

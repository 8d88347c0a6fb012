# Every target does the set-up it needs. `make help` lists them.

# Another one than the default has an environment of its own: `make test PYTHON=python3.13` uses `.venv-python3.13`.
PYTHON ?= python3

VENV := .venv$(addprefix -,$(notdir $(filter-out python3,$(PYTHON))))
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE  # some 200 processes of a test run would compile the daemon each
PIP_INSTALL := $(BIN)/python -m pip install --quiet

# Most of the time tests wait for brokers and daemons. Each of these processes starts its own brokers. The files come in
# their own order: pytest-xdist would begin with those of many tests, and end with one slow test on a single process.
PARALLEL := --numprocesses=3 --dist=loadfile --no-loadscope-reorder
PYTEST := $(BIN)/python -m pytest $(PARALLEL)

# The compiled build's wheel, and an environment that has it in place of the sources.
WHEELS := build/wheels$(patsubst .venv%,%,$(VENV))
COMPILED := $(VENV)-compiled
SITE := "import sysconfig; print(sysconfig.get_path('purelib'))"

# What `make test-brokers` runs.
BROKER_TESTS := tests/kafka tests/test_support_kafka.py tests/cli \
	$(addprefix tests/e2e/test_,contract.py broker_killed.py replicas.py kafka_security.py kafka_tokens.py operators.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run demo cast unit test coverage test-compiled compiled search test-brokers check check-rules check-ops check-chart-live tools docs site faults soak audit dashboards pictures look kafka bench profile lock \
	actionlint release-check release-notes package push-chart push-image clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/.run  ## install, and start the daemon on the embedded log on loopback
	@exec $(BIN)/aurora-bridge serve

demo: $(VENV)/.run  ## a week of webhooks with an outage, in two minutes; with Kafka, too: make demo KAFKA=localhost:9092
	@exec $(BIN)/aurora-bridge demo $(if $(KAFKA),--kafka $(KAFKA))

unit: $(VENV)/.dev  ## install, and run what needs no Kafka, Java or other tool, without the end-to-end tests (a minute)
	$(PYTEST) -m "not kafka and not slow and not ops" --ignore=tests/e2e --ignore=tests/ops

test: $(VENV)/.dev  ## install, obtain Apache Kafka, and run every test
	$(PYTEST)

coverage: $(VENV)/.dev  ## run every test at half the speed, and list the lines that no test calls directly
	$(PYTEST) --cov --cov-report=
	$(BIN)/coverage report --show-missing

compiled: $(WHEELS)/.made  ## build the wheel of the compiled build, into build/wheels (needs a C compiler; two minutes)

test-compiled: $(COMPILED)/.dev  ## run the tests on the compiled build (TESTS="tests/models -x" for some of them)
	$(COMPILED)/bin/python -m pytest $(PARALLEL) $(TESTS)

search: $(VENV)/.dev  ## try the models and the properties with examples that no run has tried (minutes)
	$(BIN)/python -m pytest --hypothesis-profile=search -m "hypothesis and not ops" --override-ini=faulthandler_timeout=0

test-brokers: $(VENV)/.dev  ## run what talks to Kafka against each series of Apache Kafka: 4.3, then 3.9 (SERIES=3.9 for one)
	status=0; for series in $(or $(SERIES),4.3 3.9); do \
		echo "Apache Kafka $$series"; TEST_KAFKA_SERIES=$$series $(BIN)/python -m pytest -m "not ops" $(BROKER_TESTS) || status=1; \
	done; exit $$status

check: $(VENV)/.dev  ## linters, formatter, types, the layers of imports, and whether what is made of the code is up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.reference --check
	$(BIN)/python -m helm.reference --check
	$(BIN)/python -m grafana --check

# The set-up of some takes minutes on a busy machine: nineteen daemons and two brokers, an image.
check-rules: $(VENV)/.dev  ## try the alerts on simulated weeks (needs promtool; a minute)
	$(BIN)/python -m pytest --numprocesses=2 tests/ops/rules/test_rules.py -m ops --override-ini=faulthandler_timeout=900

check-ops: $(VENV)/.dev  ## check image, chart, dashboards, alerts and runbooks with the real tools (`make tools` installs them)
	$(BIN)/python -m tests.support.control_plane
	$(BIN)/python -m pytest tests/ops -m "ops or not ops" -ra --override-ini=faulthandler_timeout=1200

check-chart-live: $(VENV)/.dev  ## install, upgrade and roll back the chart in a real Kubernetes API (needs Go; 5 minutes the first time)
	$(BIN)/python -m tests.support.control_plane
	$(BIN)/python -m pytest tests/ops/chart/test_live.py -m ops -ra

# Go and npm only where they are missing: Debian's conflict with those that another repository brought.
tools:  ## install what the checks of operations need, with Debian's apt-get
	apt-get update --quiet
	apt-get install --quiet --yes --no-install-recommends prometheus prometheus-alertmanager prometheus-blackbox-exporter buildah podman runc mmdebstrap chromium fonts-inter systemd nginx-light haproxy jq openssl gcc libc6-dev iproute2 iptables \
		$$(command -v go >/dev/null || echo golang-go) $$(command -v npm >/dev/null || echo npm)

faults: $(VENV)/.dev  ## kill, freeze and bounce brokers and daemon under load, and hold what was acknowledged against Kafka (SCALE=0.1)
	$(BIN)/python -m tests.faults --scale $(or $(SCALE),1)

soak: $(VENV)/.dev  ## an hour of load in which memory, files and tasks may not grow (SCALE=0.1 for six minutes)
	$(BIN)/python -m tests.faults --only 18-soak --fresh --folder build/soak --scale $(or $(SCALE),1)

audit: .tools/audit/bin/pip-audit  ## ask osv.dev whether a locked package has a known vulnerability
	$< --vulnerability-service osv --strict --disable-pip --require-hashes --requirement requirements.lock
	$< --vulnerability-service osv --strict --disable-pip --require-hashes --requirement requirements-msk.lock
	$< --vulnerability-service osv --strict --disable-pip --require-hashes --requirement requirements-dev.lock
	$< --vulnerability-service osv --strict --disable-pip --require-hashes --requirement docs/requirements.lock

docs: $(VENV)/.dev  ## write the references of settings, metrics and the chart's values from the code
	$(BIN)/python -m docs.reference
	$(BIN)/python -m helm.reference

site: .tools/site/.done  ## build the documentation into build/site, strict about links
	rm -rf build/pages
	mkdir -p build/pages
	git ls-files -z --cached --others --exclude-standard -- '*.md' 'docs/*.svg' 'docs/*.png' 'docs/*.txt' LICENSE ':!*_TEMPLATE.md' | xargs -0 tar -cf - | tar -xf - -C build/pages
	NO_MKDOCS_2_WARNING=1 .tools/site/bin/mkdocs build --strict

cast: $(VENV)/.run  ## write what `make demo` prints to docs/demo.txt
	$(BIN)/aurora-bridge demo > docs/demo.txt

dashboards: $(VENV)/.dev  ## write the Grafana dashboards from their code
	$(BIN)/python -m grafana

pictures: $(VENV)/.dev  ## play load and faults, and take pictures of the dashboards, into build/pictures
	$(BIN)/python -m tests.support.pictures build/pictures

look: $(VENV)/.dev  ## take pictures of the status page in its states, into build/look (needs a Chromium)
	$(BIN)/python -m tests.support.look build/look

kafka: $(VENV)/.dev  ## start an Apache Kafka broker to play with, until Ctrl-C
	@exec $(BIN)/python -m tests.support.play

bench: $(VENV)/.dev $(WHEELS)/.made  ## measure both builds of the daemon beside a bare hello-world and peers (an hour), or NAMES="64 idle"; another revision, too: AGAINST=REV
	$(BIN)/python -m bench $(NAMES) --compiled $(WHEELS)/*.whl --peers --json build/bench.json $(if $(AGAINST),--against $(AGAINST)) $(if $(ROUNDS),--rounds $(ROUNDS))

profile: $(VENV)/.dev .tools/profile/bin/py-spy $(if $(COMPILE),$(WHEELS)/.made)  ## show where the time of a daemon under load goes, native frames among it (COMPILE=1: of the compiled build, too)
	$(BIN)/python -m bench profile $(if $(COMPILE),--compiled $(WHEELS)/*.whl)

# Made with the lowest Python that is supported, whose list is the longest. UPGRADE=--upgrade takes the newest versions.
lock: $(VENV)/.dev  ## write the lock files anew after a change of pyproject.toml
	$(BIN)/pip-compile --quiet $(UPGRADE) --output-file=requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet $(UPGRADE) --extra=msk --constraint=requirements.lock --output-file=requirements-msk.lock pyproject.toml
	$(BIN)/pip-compile --quiet $(UPGRADE) --extra=compile --constraint=requirements.lock --output-file=requirements-compile.lock pyproject.toml
	$(BIN)/pip-compile --quiet $(UPGRADE) --extra=msk --extra=dev --constraint=requirements-msk.lock --constraint=requirements-compile.lock --output-file=requirements-dev.lock pyproject.toml
	$(BIN)/pip-compile --quiet $(UPGRADE) --no-config --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file=docs/requirements.lock docs/requirements.in

# What follows is what `.github/workflows/release.yml` runs. VERSION is that of the package.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
HELM ?= helm
EXTRA ?=

actionlint: .tools/actionlint  ## check the GitHub workflows (needs Go)
	$<

release-check:  ## check that TAG=v1.2.3 is the version of package and chart, and that the changelog has its date
	@test "$(TAG)" = "v$(VERSION)" || { echo "TAG is '$(TAG)', and pyproject.toml has $(VERSION): set TAG=v$(VERSION), or correct the version"; exit 1; }
	@grep --quiet --fixed-strings --line-regexp "version: $(VERSION)" helm/aurora-bridge/Chart.yaml || { echo "helm/aurora-bridge/Chart.yaml: set version to $(VERSION)"; exit 1; }
	@grep --quiet --fixed-strings --line-regexp "appVersion: $(VERSION)" helm/aurora-bridge/Chart.yaml || { echo "helm/aurora-bridge/Chart.yaml: set appVersion to $(VERSION)"; exit 1; }
	@grep --quiet --extended-regexp '^## \[$(subst .,\.,$(VERSION))\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$$' CHANGELOG.md || { echo "CHANGELOG.md: give the section [$(VERSION)] its date"; exit 1; }

release-notes:  ## print the changelog's section of this version
	@awk '/^## / { here = index($$0, "## [$(VERSION)]") == 1; next } here' CHANGELOG.md

package:  ## package the chart, its links followed, into build/charts
	$(HELM) package helm/aurora-bridge --destination build/charts

push-chart: package  ## push the packaged chart to REGISTRY=registry.example.com/acme, below charts
	$(HELM) push build/charts/aurora-bridge-$(VERSION).tgz oci://$(REGISTRY)/charts

push-image:  ## build the image for two architectures, with SBOM and provenance, and push it to REGISTRY (EXTRA=msk for that variant)
	docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max --push \
		--build-arg EXTRA=$(EXTRA) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
		$(addprefix --build-arg SOURCE=,$(SOURCE)) --tag $(REGISTRY)/aurora-bridge:$(VERSION)$(addprefix -,$(EXTRA)) .

clean:  ## remove what the targets above made, except the daemon's state
	rm -rf .venv* .kafka .kube .tools .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build src/*.egg-info

# What the locks name, by hash; then the package itself, in place, built by the locked backend. A stamp for each, so that
# the set-up is repeated only when its list has changed.
$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) --require-hashes --requirement $<
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) --require-hashes --requirement $<
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# In an environment of its own, so that the developers' one stays small.
.tools/site/.done: docs/requirements.lock | $(BIN)/python
	$(BIN)/python -m venv .tools/site
	.tools/site/bin/python -m pip install --quiet --require-hashes --requirement $<
	@touch $@

# One wheel, which a pure one is not taken for: that has no `cp` in its name.
$(WHEELS)/.made: setup.py pyproject.toml $(shell find src -name '*.py') | $(VENV)/.dev
	rm -rf $(@D) build/lib.* build/bdist.* && mkdir -p $(@D)
	AURORA_BRIDGE_COMPILE=1 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(@D) .
	ls $(@D)/aurora_bridge-*-cp*.whl
	@touch $@

# It shares the other environment's packages: what an installed wheel brings comes before them.
$(COMPILED)/.dev: $(WHEELS)/.made
	test -e $(COMPILED)/bin/python || $(BIN)/python -m venv $(COMPILED)
	$(BIN)/python -c $(SITE) > $$($(COMPILED)/bin/python -c $(SITE))/development.pth
	$(COMPILED)/bin/python -m pip install --quiet --no-deps --force-reinstall $(WHEELS)/*.whl
	@touch $@

.tools/actionlint:
	GOBIN=$(CURDIR)/.tools go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# In an environment of its own: it must not share its packages with what it looks at.
.tools/audit/bin/pip-audit: | $(BIN)/python
	$(BIN)/python -m venv .tools/audit
	.tools/audit/bin/python -m pip install --quiet pip-audit==2.10.1

.tools/profile/bin/py-spy: | $(BIN)/python
	$(BIN)/python -m venv .tools/profile
	.tools/profile/bin/python -m pip install --quiet py-spy==0.4.3

ifneq ($(PYTHON),python3)
# pyenv's commands run only its default versions unless told otherwise.
$(BIN)/python: export PYENV_VERSION := $(patsubst python%,%,$(notdir $(PYTHON)))
endif
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aurora-bridge needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

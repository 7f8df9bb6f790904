# Two commands to start: `make demo` and `make test`. uv is used when it is installed, venv and pip otherwise.
#   make demo      two countries, their relays, agencies and an auditor, on this machine
#   make test      all tests; needs no network once installed
#   make check     everything .ci/run demands: lint, freshness of generated code, tests
#   make lint      .proto rules, ruff, mypy, import contracts
#   make generate  Python code from proto/
#   make floors    the tests on the lowest allowed versions of the dependencies
#   make bench     measurements, when there are any
#   make pages     the pages of reports in this machine's Chromium: requests, accessibility, print
#   make manual    the scripts of the operator's manual, on relays that are upgraded, restored, recovered; a few minutes
#   make trials    relays and nodes that are killed and drained, an attachment carried by killed processes; two minutes
#   make postgres  the tests of whole relays once more, with their stores in PostgreSQL
#   make attacks   every attack of docs/attacks.md in every suite; `make test` tries each in two
#   make fuzz      every reader of outside bytes, SECONDS=60 each; TARGET=Envelope for one
#   make mutants   faults put into the code that verifies: does a test notice? MODULE=wire for one
#   make histories campaigns of lying relays, and COUNT=10000 honest histories: is anybody accused wrongly?
#   make large     an attachment of 10 GiB, or of SIZE=1GiB, between processes that are killed five times
#   make federation  12 relays and 24 agencies killed at random; MINUTES=10 MESSAGES=10000 RELAYS= AGENCIES= SEED= JSON=1
#   make long-log  an audit log of 1 000 000 entries, or of ENTRIES=..., exported and verified; GROUPS=routing,message
#   make bench-limits  a relay under attack, with slow readers and long queues; ONLY=slow MINUTES=10 QUEUED=1000000
#   make clean     remove the environments and build output
PY    ?= python3
UV    := $(shell command -v uv 2>/dev/null)
VENV  ?= .venv
PROTO ?= .venv-proto
FLOOR ?= .venv-floors
BIN   := $(VENV)/bin
# Three workers on two cores: while some wait for relays and disks, others work; few enough for a small machine.
# A file stays with one worker, so that the relays of its tests are started once.
PYTEST := -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
# What is tested once more with a relay's store in PostgreSQL; the store's own contract always runs on both.
ON_POSTGRES := $(addprefix tests/test_,$(addsuffix .py,relay_server relay_recalls relay_faults relay_attachments \
	renewal turning recovery uncosigned publishing continuity doctor status))
ON_POSTGRES += tests/trials/test_processes.py tests/trials/test_federation.py

.PHONY: attacks baseline bench-limits demo test check lint generate fresh image floors bench federation pages fuzz \
        histories large long-log manual postgres trials mutants python clean
.DEFAULT_GOAL := test

# Environments. VENV/.ok runs the demo, VENV/.dev adds what tests and checks need, PROTO holds the code generator alone,
# because it needs an older protobuf than the rest.
ifdef UV
# uv downloads an interpreter only if none on this machine will do; UV_PYTHON_DOWNLOADS=never forbids even that.
export UV_PYTHON_PREFERENCE ?= system
make_venv   = test -x $(1)/bin/python || uv venv -q --python '>=3.11' $(1)
pip_install = uv pip install -q --python $(1)/bin/python
python:
	@:
else
make_venv   = test -x $(1)/bin/pip || $(PY) -m venv $(1)
# pip learnt --group in 25.1; an older one is replaced inside the environment only.
pip_install = $(1)/bin/python -m pip install -q 'pip>=25.1' && $(1)/bin/python -m pip install -q
python:
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found $$($(PY) --version 2>&1); try: make PY=python3.12 $(MAKECMDGOALS)"; exit 3; }
	@$(PY) -c 'import ensurepip' 2>/dev/null || { echo "The module ensurepip is missing; try: sudo apt install python3-venv"; exit 3; }
endif

$(VENV)/.ok: pyproject.toml | python
	$(call make_venv,$(VENV))
	$(call pip_install,$(VENV)) -e '.[relay]'
	@touch $@

$(VENV)/.dev: $(VENV)/.ok
	$(call pip_install,$(VENV)) --group tests --group lint
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	$(call pip_install,$(VENV)) --group browser
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	$(call pip_install,$(VENV)) --group fuzz
	@touch $@

$(PROTO)/.ok: pyproject.toml | python
	$(call make_venv,$(PROTO))
	$(call pip_install,$(PROTO)) --group proto
	@touch $@

$(FLOOR)/.ok: pyproject.toml tools/floors.py | python
	$(call make_venv,$(FLOOR))
	@mkdir -p build
	$(FLOOR)/bin/python tools/floors.py relay hsm tsa postgres s3 otel > build/floors.txt
	$(call pip_install,$(FLOOR)) -c build/floors.txt -e '.[relay,hsm,tsa,postgres,s3,otel]' --group tests
	@touch $@

demo: $(VENV)/.ok
	@$(BIN)/python -m infoexchange demo $(if $(KEEP),--keep)

test: $(VENV)/.dev
	$(BIN)/python $(PYTEST)

pages: $(VENV)/.browser
	$(BIN)/python -m pytest -q -rs tests/browser

# The tests of whole relays once more, with their stores in a PostgreSQL server of the tests' own.
postgres: $(VENV)/.dev
	INFOEXCHANGE_TEST_ENGINE=postgres $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ON_POSTGRES)

# Whole relays that are killed, drained and started again while messages go through them.
trials: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 -rs tests/trials

# Scripts of relay/scripts against relays as processes.
manual: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 3 -rs tests/manual

attacks: $(VENV)/.dev
	INFOEXCHANGE_ATTACKS_IN_EVERY_SUITE=1 $(BIN)/python -m pytest -q -n 2 tests/test_attacks.py

floors: $(FLOOR)/.ok
	$(FLOOR)/bin/python $(PYTEST)

# The image carries rules and comments for buf. Without --include_source_info every comment rule passes silently.
image: $(PROTO)/.ok
	@mkdir -p build
	@$(PROTO)/bin/python tools/dump_validate_descriptor.py build/validate_set.binpb
	@$(PROTO)/bin/python -m grpc_tools.protoc --descriptor_set_in=build/validate_set.binpb -I proto \
	  --include_imports --include_source_info --descriptor_set_out=build/image.binpb \
	  $$(cd proto && find infoexchange -name '*.proto' | LC_ALL=C sort)

generate: image
	@$(PROTO)/bin/python tools/generate.py build/image.binpb src

fresh: image
	@$(PROTO)/bin/python tools/generate.py build/image.binpb src --check

lint: image $(VENV)/.dev
	$(PROTO)/bin/buf lint build/image.binpb --config tools/buf-image.yaml
	@if [ -f proto/baseline.binpb ]; then \
	  echo "$(PROTO)/bin/buf breaking build/image.binpb --against proto/baseline.binpb"; \
	  $(PROTO)/bin/buf breaking build/image.binpb --against proto/baseline.binpb --config tools/buf-image.yaml; fi
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=src:relay $(BIN)/mypy tests/typed_building.py
	$(BIN)/lint-imports

# Once for each release: what `buf breaking` compares later schemas with. No comments in it: they may change.
baseline: image
	@$(PROTO)/bin/python -m grpc_tools.protoc --descriptor_set_in=build/validate_set.binpb -I proto \
	  --include_imports --descriptor_set_out=proto/baseline.binpb \
	  $$(cd proto && find infoexchange -name '*.proto' | LC_ALL=C sort)

# One after the other, so that the tests' closing line comes last whatever -j says.
check:
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory fresh
	@$(MAKE) --no-print-directory test

bench: $(VENV)/.dev
	@if [ -d bench ]; then $(BIN)/python -m bench; else echo "There is no bench yet."; fi

# Minutes to hours, so neither is a part of `make check`.
SECONDS   ?= 60
PROCESSES ?= 2
fuzz: $(VENV)/.fuzz
	@PYTHONPATH=src:relay:tests $(BIN)/python -m fuzz --seconds $(SECONDS) --processes $(PROCESSES) \
	  $(if $(TARGET),--target "$(TARGET)") $(if $(REPLAY),--replay "$(REPLAY)")

mutants: $(VENV)/.dev
	@$(BIN)/python tools/mutants.py --processes $(PROCESSES) $(MODULE)

COUNT ?= 10000
histories: $(VENV)/.dev
	PYTHONPATH=src:relay:tests $(BIN)/python tests/histories.py --count $(COUNT)

SIZE ?= 10GiB
large: $(VENV)/.dev
	PYTHONPATH=src:relay $(BIN)/python tests/large.py --size $(SIZE) $(if $(FOLDER),--folder $(FOLDER))

MINUTES  ?= 10
RELAYS   ?= 12
AGENCIES ?= 24
MESSAGES ?= 10000
ENGINE   ?= sqlite
federation: $(VENV)/.dev
	PYTHONPATH=src:relay:tests $(BIN)/python -m federation --minutes $(MINUTES) --relays $(RELAYS) \
	  --agencies $(AGENCIES) --messages $(MESSAGES) --engine $(ENGINE) \
	  $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json) $(if $(FOLDER),--folder $(FOLDER))

ENTRIES ?= 1000000
long-log: $(VENV)/.dev
	PYTHONPATH=src:relay $(BIN)/python -m bench.logs --entries $(ENTRIES) $(if $(GROUPS),--groups $(GROUPS))

MINUTES ?= 1
QUEUED  ?= 1000000
bench-limits: $(VENV)/.dev
	PYTHONPATH=src:relay:tests $(BIN)/python -m bench.limits --minutes $(MINUTES) --queued $(QUEUED) \
	  $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) $(PROTO) $(FLOOR) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

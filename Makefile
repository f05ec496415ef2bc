# Needs GNU make 3.81 or later and Python 3.11 to 3.13; `make help` lists the targets.
# .venv serves, .venv-dev trains and tests: the two builds of ONNX Runtime cannot share one.
# .venv-ray is what a node of a Ray cluster has.

PYTHON ?= python3
PRESET ?= default
DATA ?=
ARGS ?=
UPGRADE ?=
REQUESTS ?= 1000000

# The build of ONNX Runtime to serve with: the GPU one where the service will see an NVIDIA driver.
BACKEND := $(shell $(PYTHON) -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null \
	&& echo gpu || echo cpu)

SERVE_ENV := .venv/$(BACKEND).installed
DEV_ENV := .venv-dev/dev.installed
DEV := .venv-dev/bin
RAY_ENV := .venv-ray/ray.installed
SHIPPED := cpu gpu train ray

# Turns off the telemetry of ONNX Runtime, which reads this before it starts.
export ORT_DISABLE_TELEMETRY := 1
# Large allocations in huge pages: a large WebP is copied in a fifth of the time, during which no
# other thread of Python runs. The C library reads this when a program starts.
export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
# Else each of the hundreds of processes that the tests start compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve train test test-quick test-clients test-ray test-backends lint verify-models audit torture overload changes soak bench bench-quick gpu-check lock proto

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(SERVE_ENV) ## Serve on http://localhost:8000, on the GPU where there is one
	@exec .venv/bin/python -m service

train: $(DEV_ENV) ## Train and publish a model: DATA=<folder> (else CIFAR-10), PRESET=default, ARGS=--resume
	$(DEV)/python -m training run --preset $(PRESET) $(if $(DATA),--data "$(DATA)") $(ARGS)

# Tests that measure time or fill the machine run by themselves, after all others: to import the
# files that hold none takes longer.
test: $(DEV_ENV) ## Run every test
	$(DEV)/python -m pytest -m "not alone" --numprocesses auto --maxprocesses 4 --dist worksteal
	$(DEV)/python -m pytest -m alone $$(grep -rl --include='test_*.py' 'mark\.alone' tests)

test-quick: $(DEV_ENV) ## Run the unit tests of the service (seconds)
	$(DEV)/python -m pytest tests/service

test-clients: $(DEV_ENV) ## Run clients of Triton, KServe and OpenAPI, and show our models to OpenVINO and Triton
	$(DEV)/python -m tests.clients

test-ray: $(DEV_ENV) $(RAY_ENV) ## Serve on a Ray cluster of two nodes: the same answers; nodes, replicas and versions come and go
	RAY=1 $(DEV)/python -m pytest tests/e2e/ray

test-backends: $(DEV_ENV) ## Train under JAX, in 5 minutes: two devices, two processes, killed ones; PyTorch where it is installed
	BACKENDS=1 $(DEV)/python -m pytest tests/training/train/test_backend.py tests/training/train/test_parallel.py

lint: $(DEV_ENV) ## Check style, types and which package imports which
	$(DEV)/ruff check
	$(DEV)/ruff format --check
	$(DEV)/mypy
	$(DEV)/lint-imports --no-logo

verify-models: $(DEV_ENV) ## Recompute the figures of every model card: DATA=<folder>
	$(DEV)/python -m training verify-models $(if $(DATA),--data "$(DATA)") $(ARGS)

bench: $(DEV_ENV) ## Measure the service against its ceilings and its peers, in 15 minutes: ARGS="--model <file>"
	@$(DEV)/python -m tests.benchmark $(ARGS)

bench-quick: $(DEV_ENV) ## The same in one short round, in 3 minutes
	@$(DEV)/python -m tests.benchmark --quick $(ARGS)

torture: $(DEV_ENV) ## Send 20,000 damaged pictures, 5,000 odd ones and thousands of odd requests, in half an hour
	TORTURE=1 $(DEV)/python -m pytest tests/e2e/test_hostile_pictures.py tests/e2e/test_hostile_requests.py \
		tests/e2e/test_metrics.py tests/contract/test_one_picture.py tests/service/inference/test_plain_jpeg.py \
		tests/service/process/test_lifecycle.py

overload: $(DEV_ENV) ## Load the service five times over, in 6 minutes, and check the latency and the refusals
	@$(DEV)/python -m tests.benchmark.overload $(ARGS)

changes: $(DEV_ENV) ## Change the model 20 times under load, in 2 minutes: what is lost, and how much slower it gets
	@$(DEV)/python -m tests.benchmark.changes $(ARGS)

soak: $(DEV_ENV) ## Send a million good and bad pictures: memory, open files, threads: REQUESTS=1000000
	@$(DEV)/python -m tests.benchmark.soak --requests $(REQUESTS)

audit: $(DEV_ENV) ## Look for known vulnerabilities in what is pinned; write bills of materials to sbom/
	@mkdir -p sbom
	@for name in $(SHIPPED); do PYTHONWARNINGS=ignore $(DEV)/cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible --output-file sbom/$$name.json docker/requirements-$$name.txt || exit 1; done
	@$(DEV)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
		$(foreach name,$(SHIPPED) dev,--requirement docker/requirements-$(name).txt)

gpu-check: $(SERVE_ENV) ## Test the GPU of this machine, in 5 minutes: provider, answers, speed, changes, loss: ARGS="--provider cpu"
	@.venv/bin/python -m tests.benchmark.gpu $(ARGS)

proto: $(DEV_ENV) ## Compile the messages of the gRPC service
	$(DEV)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. service/grpc/inference.proto

COMPILE = $(DEV)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE) pyproject.toml
SAME = --constraint docker/requirements-dev.txt

lock: $(DEV_ENV) ## Pin the dependencies of pyproject.toml: UPGRADE=--upgrade for the newest
	$(COMPILE) --extra train --extra grpc --extra otel --extra heic --group dev --output-file docker/requirements-dev.txt
	$(COMPILE) --extra cpu --extra grpc --extra otel --extra heic $(SAME) --output-file docker/requirements-cpu.txt
	$(COMPILE) --extra gpu --extra grpc --extra otel --extra heic $(SAME) --output-file docker/requirements-gpu.txt
	$(COMPILE) --extra cpu --extra train --extra heic $(SAME) --output-file docker/requirements-train.txt
	$(COMPILE) --extra cpu --extra ray --extra otel --extra heic $(SAME) --output-file docker/requirements-ray.txt

# An environment is built whole, and its stamp is written last: a changed requirement file and an
# interrupted installation both start again from nothing.
$(SERVE_ENV): docker/requirements-$(BACKEND).txt
$(DEV_ENV): docker/requirements-dev.txt
$(RAY_ENV): docker/requirements-ray.txt
$(SERVE_ENV) $(DEV_ENV) $(RAY_ENV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "This needs Python 3.11 to 3.13, and '$(PYTHON)' is not: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --require-hashes --only-binary=:all: -r $<
	@touch $@

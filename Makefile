# Everything here does its own set-up: see scripts/setup.

.PHONY: setup demo test faults bench lint ci

# The main job, live. ARGS="--help" tells what can be changed.
demo: setup
	@cargo run --quiet --example demo -- $(ARGS)

# The whole suite, on a private server that ends with it, or on that of DBSEMAPHORE_TEST_URL. PG=18 fetches that version.
test: setup
	@scripts/setup pgbouncer iproute2
	$(if $(PG),DBSEMAPHORE_TEST_POSTGRES=$$(scripts/fetch-postgres $(PG))) \
		cargo run --quiet --package stand -- cargo test --workspace $(ARGS)

# Everything goes wrong that can, and the program looks for an (n+1)-th holder and a leaked ticket. FAULTS: see its report.
SECONDS ?= 60
SEED ?= 1
FAULTS ?= all
faults: setup
	@scripts/setup pgbouncer iproute2
	@cargo run --quiet --package faults -- $(SECONDS) $(SEED) $(FAULTS)

# Prints the figures that README.md quotes.
bench: setup
	cargo bench --bench scale
	cargo bench --bench line
	cargo bench --bench hand_off

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# All that a change has to pass.
ci: lint test
	cargo run --quiet --example demo -- --seconds 6 src migrations tests

setup:
	@scripts/setup

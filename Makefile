.DEFAULT_GOAL := help
.PHONY: help demo test run fuzz load bench bench-ingest bench-single bench-read bench-reserve \
	bench-patterns bench-pickup bench-watch bench-size bench-growth bench-overload simulate mutants torture soak \
	check-history sqlx docs

help: ## list what there is
	@grep -E '^[a-z-]+: ## ' $(MAKEFILE_LIST) | sed 's/: ## /\t/' | expand -t 16

demo: ## replay a year of tills through a Stockroom of its own (DATA=folder: of real ones)
	@scripts/demo.sh

test: ## formatting, lints and the whole suite against real servers (DATA=folder: on real data too)
	@scripts/test.sh

run: ## serve until stopped (LISTEN=host:port, DATA_DIR=folder)
	@scripts/run.sh

fuzz: ## feed mutated input to everything that reads any (SECONDS=20 each, SEED=n, KEEP=1)
	@FUZZ_SECONDS=$(or $(SECONDS),20) SEED=$(SEED) KEEP=$(KEEP) scripts/fuzz.sh

load: ## a scenario, with a report in target/load (SCENARIO=name, RATE=a second, DURATION=seconds)
	@scripts/bench.sh load $(or $(SCENARIO),till-day) \
		$(if $(RATE),--rate $(RATE)) $(if $(DURATION),--duration $(DURATION))

bench: ## all comparisons, about 15 minutes, into docs/benchmarks.md (PARTS=all: hours; PARTS="read size")
	@scripts/bench.sh bench $(PARTS)

bench-ingest: ## movements per second, against the same rows by bulk SQL
	@scripts/bench.sh ingest

bench-single: ## single sales of one hot item per second, against row locks
	@scripts/bench.sh single

bench-read: ## reads of availability per second, against a bare gRPC server
	@scripts/bench.sh read

bench-reserve: ## reservations and holds per second, against row locks and a bare gRPC server
	@scripts/bench.sh reserve

bench-patterns: ## reservations per second, against how others keep from overselling
	@scripts/bench.sh patterns

bench-watch: ## how soon 1,000 watchers, then 5,000, know of what was recorded
	@scripts/bench.sh watch --watchers 1000
	@scripts/bench.sh watch --watchers 5000 --p99-ms-max 0

bench-pickup: ## the nearest of 17,700 pickup points that have a basket (DATA=folder: the real ones)
	@scripts/bench.sh pickup

bench-size: ## bytes of a position in Redis and of an entry in PostgreSQL
	@scripts/bench.sh size

bench-growth: ## the same load on 10 thousand and 10 million positions, 1 and 20 million entries
	@scripts/bench.sh growth

bench-overload: ## what is left of throughput at 2 and 10 times the capacity
	@scripts/bench.sh overload

simulate: ## the code that decides over simulated databases, clients and clocks (SEEDS=n, SEED=first)
	@SEEDS=$(SEEDS) SEED=$(SEED) scripts/simulate.sh $(if $(TRACE),--trace)

mutants: ## show that each deliberate defect is found (MUTANT=name: one of them)
	@scripts/simulate.sh mutants $(MUTANT)

torture: ## break everything under load and check the history (DURATION=seconds, SEED=n)
	@scripts/bench.sh torture --duration $(or $(DURATION),60) --seed $(or $(SEED),1)

soak: ## a long load with a fault every 30 s: nothing may grow (SECONDS=1200, RATE=a second, SEED=n)
	@scripts/bench.sh soak --duration $(or $(SECONDS),1200) --seed $(or $(SEED),1) \
		$(if $(RATE),--rate $(RATE))

check-history: ## decide from a saved history which invariants hold (FILE=path)
	@scripts/bench.sh check $(FILE)

sqlx: ## write .sqlx, the types of all queries, anew
	@scripts/sqlx.sh

docs: ## write what documents list from its definition: all settings, all metrics
	@scripts/docs.sh

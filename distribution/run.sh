#!/usr/bin/env bash
# Starts the distribution and the demo, and stops both together. `make run` calls
# it; COLLECTOR and DEMO are the two programs.
set -euo pipefail
: "${COLLECTOR:?}" "${DEMO:?}"

listens() { (exec 3<>"/dev/tcp/localhost/$1") 2>/dev/null; }
running() { kill -0 "$1" 2>/dev/null; }

taken=()
for use in "4317:OTLP over gRPC" "4318:OTLP over HTTP" "8080:the demo shop" \
  "8888:the collector's own metrics" "9090:the inspector" "13133:the health check"; do
  if listens "${use%%:*}"; then taken+=("${use%%:*} (${use#*:})"); fi
done
if ((${#taken[@]})); then
  printf 'something on this machine listens already on port %s\n' "${taken[@]}" >&2
  echo "stop it (is another 'make run' open?) and run again" >&2
  exit 1
fi

collector='' demo=''
stop() {
  trap - EXIT
  trap 'kill -KILL $demo $collector 2>/dev/null; exit 130' INT TERM HUP # asked twice
  # The demo first, so that its goodbye still arrives.
  for pid in $demo $collector; do
    kill -INT "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Each in a process group of its own (set -m): ctrl-C comes to this script only,
# and stop keeps the order.
set -m
"$COLLECTOR" --config=embedded:default &
collector=$!
set +m
for _ in {1..150}; do
  listens 13133 && break
  running "$collector" || break
  sleep 0.1
done
if ! listens 13133; then
  echo "the collector did not start; what it said is above" >&2
  exit 1
fi

cat <<'WORDS'

  The collector and the demo shop run: http://localhost:9090 shows them. Every two
  seconds the collector shows here what the shop's tasks are doing, if something
  has changed. The shop will misbehave by itself; to hurry it, from another terminal:

    curl -X POST localhost:8080/chaos/block      someone sits on the stock lock for 15 s
    curl -X POST localhost:8080/chaos/slow-bank  the bank takes 15 s to answer
    curl -X POST localhost:8080/chaos/deadlock   two clerks wait for each other, for ever

  Ctrl-C stops both. Every task is then a row in async-inspect-csv/*.csv: open it
  with a spreadsheet, or try

    duckdb -c "SELECT name, state, count(*) FROM 'async-inspect-csv/*.csv' GROUP BY ALL"

WORDS
set -m
"$DEMO" -show "$@" &
demo=$!
set +m

while running "$collector" && running "$demo"; do sleep 0.5; done
if running "$collector"; then
  echo "the demo has ended; stopping the collector" >&2
else
  echo "the collector has ended; stopping the demo" >&2
fi
exit 1

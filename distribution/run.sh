#!/usr/bin/env bash
# Starts the distribution and the demo, and stops both together. `make run` calls
# it; COLLECTOR and DEMO are the two programs.
set -euo pipefail
: "${COLLECTOR:?}" "${DEMO:?}"

for port in 4317 4318 8080 8888 13133; do
  if (exec 3<>"/dev/tcp/localhost/$port") 2>/dev/null; then
    echo "port $port of this machine is taken: stop what listens there, and run again" >&2
    exit 1
  fi
done

pids=()
stop() {
  trap - EXIT INT TERM
  # The demo first, so that its goodbye still arrives.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill -INT "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Both in sessions of their own: ctrl-C comes here, and stop keeps the order.
setsid "$COLLECTOR" --config=embedded:default &
pids+=($!)
for _ in {1..100}; do
  (exec 3<>/dev/tcp/localhost/13133) 2>/dev/null && break
  kill -0 "${pids[0]}" 2>/dev/null || { echo "the collector did not start" >&2; exit 1; }
  sleep 0.1
done

setsid "$DEMO" -show "$@" &
pids+=($!)
cat <<'WORDS'

  The collector and the demo shop run. Every two seconds the collector tells what
  the shop's tasks are doing. The shop will misbehave by itself; to hurry it:

    curl -X POST localhost:8080/chaos/block      someone sits on the stock lock for 15 s
    curl -X POST localhost:8080/chaos/slow-bank  the bank takes 15 s to answer
    curl -X POST localhost:8080/chaos/deadlock   two clerks wait for each other, for ever

  Ctrl-C stops both.

WORDS
wait -n "${pids[@]}" || true
echo "one of the two has ended; stopping the other" >&2
exit 1

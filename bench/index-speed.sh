#!/usr/bin/env bash
# Compares how many documents a second iocpipe indexes with a loader that only posts prepared bulk bodies of the same
# documents, in turns, on a real node. Prints the medians, their ratio, and the memory and CPU time that iocpipe takes.
# Settings from the environment: IOCPIPE (binary; built when unset), KIND (of node: opensearch), URL (of a running node; started
# when unset), LINES (200000), RUNS (5), NODE_OPTS (for the node's JVM).
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$bench/..
kind=${KIND:-opensearch}
lines=${LINES:-200000}
runs=${RUNS:-5}

work=$(mktemp -d)
nodes=$root/sinks/elastic/elastictest/nodes.sh
trap '[[ -n ${URL:-} ]] || "$nodes" kill "$work/node" "$kind"; rm -rf "$work"' EXIT

iocpipe=${IOCPIPE:-}
if [[ -z $iocpipe ]]; then
  iocpipe=$work/iocpipe
  (cd "$root" && go build -o "$iocpipe" ./cmd/iocpipe)
fi
(cd "$root" && go build -o "$work/loader" ./bench/loader)
url=${URL:-}
if [[ -z $url ]]; then
  url=$(NODE_OPTS="${NODE_OPTS:--Xms1g -Xmx1g}" "$nodes" start "$work/node" "$kind" | cut -d= -f2)
fi

# The lines are those of testdata/logs/web.log with an address and a time of their own each; one in 50 is on the list.
mkdir "$work/in"
awk -v n="$lines" '
  { line[NR] = $0; sub(/^[^ ]* - - \[[^]]*\]/, "", line[NR]) }
  END {
    for (i = 0; i < n; i++) {
      address = i % 50 ? sprintf("93.%d.%d.%d", 1 + i / 65536, i / 256 % 256, i % 256) : "203.0.113." i / 50 % 256
      printf "%s - - [29/Sep/2026:%02d:%02d:%02d +0000]%s\n", address, i / 3600 % 24, i / 60 % 60, i % 60, line[1 + i % NR]
    }
  }' "$root/testdata/logs/web.log" >"$work/in/access.log"

mapping='{"settings":{"number_of_replicas":0,"refresh_interval":"1s"}}'
fresh() { # makes the index anew
  curl -fsS -o /dev/null -X DELETE "$url/bench" 2>/dev/null || true
  curl -fsS -o /dev/null -X PUT -H 'Content-Type: application/json' -d "$mapping" "$url/bench"
}
count() {
  curl -fsS -o /dev/null -X POST "$url/bench/_refresh"
  curl -fsS "$url/bench/_count" | sed 's/[^0-9]*\([0-9]*\).*/\1/'
}
index() { # what iocpipe does; its memory and CPU time go to used
  /usr/bin/env time -f "%M %U %S" -o "$work/used" "$iocpipe" --intel "$root/testdata/intel/blocklist.txt" --state "$work/state" --to elasticsearch \
    --es-url "$url" --es-index bench "$work/in/access.log"
}
load() { "$work/loader" -url "$url" "$work/bodies"; }

# timed NAME COMMAND… appends the documents per second of a run to the file NAME.
timed() {
  local name=$1 start end
  shift
  fresh
  start=$EPOCHREALTIME
  "$@"
  end=$EPOCHREALTIME
  [[ $(count) == "$lines" ]] || { echo "$name: $(count) documents, not $lines" >&2; exit 1; }
  awk -v a="${start/,/.}" -v b="${end/,/.}" -v n="$lines" 'BEGIN { printf "%.0f\n", n / (b - a) }' | tee -a "$work/$name.rates" | sed "s/^/$name: /"
}

# The bodies are recorded from iocpipe itself, by a server that says yes to all, so that both send the same.
mkdir "$work/bodies"
"$work/loader" -record "$work/bodies" -listen 127.0.0.1:0 -address "$work/address" &
recorder=$!
until [[ -s $work/address ]]; do sleep 0.1; done
"$iocpipe" --intel "$root/testdata/intel/blocklist.txt" --state "$work/state" --to elasticsearch --es-url "$(<"$work/address")" --es-index bench \
  --es-flavor elasticsearch "$work/in/access.log"
kill "$recorder"

fresh && index >/dev/null && fresh && load # warms the node up
for ((i = 0; i < runs; i++)); do
  timed loader load
  timed iocpipe index
  awk -v n="$lines" '{ print $1 >>M; printf "%.2f\n", ($2 + $3) / n * 1e6 >>C }' M="$work/memory" C="$work/cpu" "$work/used"
done
median() { sort -g "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
awk -v l="$(median "$work/loader.rates")" -v i="$(median "$work/iocpipe.rates")" -v m="$(sort -g "$work/memory" | tail -n 1)" \
  -v c="$(median "$work/cpu")" -v k="$kind" -v n="$lines" 'BEGIN {
  printf "%s, %d documents: loader %d/s, iocpipe %d/s: %.2f times; at most %.0f MiB, %.1f µs of CPU a document\n", k, n, l, i, i / l, m / 1024, c }'

#!/usr/bin/env bash
# Compares the throughput of `iocpipe extract` with ripgrep and xioc on the two corpora, one core each.
# Settings from the environment: IOCPIPE, XIOC (binaries; built when unset), CORPUS (folder), MB (200), RUNS (5).
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
corpus=${CORPUS:-${TMPDIR:-/tmp}/iocpipe-bench}
mb=${MB:-200}
runs=${RUNS:-5}
xioc_bytes=4000000 # xioc does a few MB/s at most: more would only take longer

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command -v rg >/dev/null || {
  say "ripgrep (rg) is missing; on Debian and Ubuntu: apt-get update && apt-get install -y ripgrep"
  exit 1
}
iocpipe=${IOCPIPE:-}
if [ -z "$iocpipe" ]; then
  iocpipe=$work/iocpipe
  (cd "$bench/.." && go build -o "$iocpipe" ./cmd/iocpipe) || { say "iocpipe does not build"; exit 1; }
fi
xioc=${XIOC:-$(command -v xioc || true)}
if [ -z "$xioc" ]; then
  if GOBIN=$work go install github.com/assafmo/xioc@latest 2>"$work/xioc.err"; then
    xioc=$work/xioc
  else
    say "xioc is left out, it cannot be installed here: $(tail -n 1 "$work/xioc.err")"
  fi
fi
pin=()
if command -v taskset >/dev/null; then pin=(taskset -c 0); else say "no taskset: processes are not pinned to a core"; fi

"$bench/corpus.sh" "$corpus" "$mb"

run_rg() { "${pin[@]}" rg --no-config -j1 -a -o --no-unicode -f "$bench/union-pattern.txt" "$1"; }
run_iocpipe() { "${pin[@]}" env GOMAXPROCS=1 "$iocpipe" extract "$1"; }
run_xioc() { "${pin[@]}" env GOMAXPROCS=1 "$xioc" <"$1"; }

# seconds TOOL FILE prints how long one run takes, from start to the last byte out of the pipe.
seconds() {
  local start=$EPOCHREALTIME
  "run_$1" "$2" | cat >/dev/null
  local end=$EPOCHREALTIME
  awk -v a="${start/,/.}" -v b="${end/,/.}" 'BEGIN { printf "%.6f\n", b - a }'
}

# rate TOOL FILE prints the MB/s of the median run.
rate() {
  sort -g "$work/$1" | awk -v bytes="$(wc -c <"$2")" '
    { t[NR] = $1 }
    END { m = NR % 2 ? t[(NR + 1) / 2] : (t[NR / 2] + t[NR / 2 + 1]) / 2; printf "%.1f\n", bytes / 1e6 / m }'
}

for name in plain.log events.ndjson; do
  file=$corpus/$name
  piece=$work/piece
  head -c "$xioc_bytes" "$file" >"$piece"
  cat "$file" >/dev/null # into the page cache, for the first tool as for the last
  : >"$work/t.rg"; : >"$work/t.iocpipe"; : >"$work/t.xioc"
  for ((i = 1; i <= runs; i++)); do
    seconds rg "$file" >>"$work/t.rg"
    seconds iocpipe "$file" >>"$work/t.iocpipe"
    if [ -n "$xioc" ]; then seconds xioc "$piece" >>"$work/t.xioc"; fi
  done
  rg=$(rate t.rg "$file")
  ours=$(rate t.iocpipe "$file")
  printf '%s: %s bytes, median of %d runs, one core\n' "$name" "$(wc -c <"$file")" "$runs"
  printf '  %-8s %8s MB/s\n' rg "$rg"
  printf '  %-8s %8s MB/s  %s times rg\n' iocpipe "$ours" \
    "$(awk -v a="$ours" -v b="$rg" 'BEGIN { printf "%.2f", a / b }')"
  if [ -n "$xioc" ]; then
    theirs=$(rate t.xioc "$piece")
    printf '  %-8s %8s MB/s  on the first %d bytes only; iocpipe is %s times as fast\n' xioc "$theirs" "$xioc_bytes" \
      "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.0f", a / b }')"
  fi
done

#!/usr/bin/env bash
# Builds the throughput corpora: OUTDIR/plain.log and OUTDIR/events.ndjson, MB megabytes each (default 200).
# The same input gives the same bytes on every machine; what is already there and still right is kept.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: ${0##*/} OUTDIR [MB]" >&2
  exit 2
fi
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "${0##*/}: python3 is needed" >&2; exit 1; }
mkdir -p "$1"
exec python3 "$bench/corpus.py" "$bench/../testdata/logs" "$1" "${2:-200}"

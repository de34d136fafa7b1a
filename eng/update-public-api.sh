#!/usr/bin/env bash
# Writes src/*/PublicAPI.Unshipped.txt anew: every public member that PublicAPI.Shipped.txt does not hold (and *REMOVED* lines for what it holds and the code lacks).
# Run it after a change of public members and read the difference: that is the change of the public API. `--ship` moves everything into PublicAPI.Shipped.txt, at a release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1

for file in src/*/*.csproj; do
  project="$(dirname "$file")"
  case "$project" in *.Analyzers*) continue ;; esac # loaded by the compiler, called by nobody
  shipped="$project/PublicAPI.Shipped.txt"; unshipped="$project/PublicAPI.Unshipped.txt"
  for list in "$shipped" "$unshipped"; do [ -f "$list" ] || echo '#nullable enable' > "$list"; done
  if [ "${1:-}" = --ship ]; then
    removed="$(sed -n 's/^\*REMOVED\*//p' "$unshipped")"
    { echo '#nullable enable'; { grep -hv -e '^#nullable' -e '^\*REMOVED\*' "$shipped" "$unshipped" || true; } | { if [ -n "$removed" ]; then grep -vxF "$removed" || true; else cat; fi; } | sort -u; } > "$shipped.new"
    mv "$shipped.new" "$shipped"; echo '#nullable enable' > "$unshipped"
    echo "$project: shipped"; continue
  fi

  echo '#nullable enable' > "$unshipped"
  log="$(mktemp)"
  # Only this project's lines of the analyzer's two rules count: the build also prints what it references, and other warnings are the ordinary build's.
  dotnet build "$project" --no-incremental -v quiet -p:TreatWarningsAsErrors=false -clp:NoSummary > "$log" 2>&1 || { grep -E 'error' "$log" | sort -u; rm -f "$log"; exit 1; }
  grep -F "/$(basename "$project").csproj]" "$log" > "$log.own" || true
  {
    echo '#nullable enable'
    {
      sed -nE "s/.*warning RS0016: Symbol '(.*)' is not part of the declared public API.*/\1/p" "$log.own"
      sed -nE "s/.*warning RS0017: Symbol '(.*)' is part of the declared API, but.*/*REMOVED*\1/p" "$log.own"
    } | sort -u
  } > "$unshipped.new"
  mv "$unshipped.new" "$unshipped"; rm -f "$log" "$log.own"
  echo "$project: $(($(wc -l < "$unshipped") - 1)) unshipped"
done

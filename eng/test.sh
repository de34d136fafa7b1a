#!/usr/bin/env bash
# Runs every test. Finds PostgreSQL (EFENVELOPE_TEST_POSTGRES, a Docker engine, local binaries) or installs it; needs the .NET SDK.
# Last line: "N passed, N failed". Exit code: 0 only when every test passed and at least one ran.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1

find_initdb() {
  command -v pg_ctl >/dev/null 2>&1 && command -v initdb >/dev/null 2>&1 && return 0
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return 0
  compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null && return 0
  [ -n "${EFENVELOPE_POSTGRES_BIN:-}" ] && [ -x "$EFENVELOPE_POSTGRES_BIN/initdb" ]
}
if [ -z "${EFENVELOPE_TEST_POSTGRES:-}" ] && ! find_initdb && ! docker info >/dev/null 2>&1; then
  echo "No PostgreSQL found: installing it."
  if command -v apt-get >/dev/null 2>&1; then
    sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null
  elif command -v brew >/dev/null 2>&1; then
    brew install postgresql@17
  else
    echo "Install PostgreSQL, start a Docker engine, or set EFENVELOPE_TEST_POSTGRES." >&2
    echo "0 passed, 1 failed"; exit 1
  fi
fi

results="$(mktemp -d)"; trap 'rm -rf "$results"' EXIT
status=0
dotnet build EfEnvelope.sln -c Release -v quiet || { echo "0 passed, 1 failed"; exit 1; }
dotnet test EfEnvelope.sln -c Release --no-build --results-directory "$results" --logger "trx" --blame-hang-timeout 5m --blame-hang-dump-type none "$@" || status=1

passed=0; failed=0
for trx in "$results"/*.trx; do
  [ -e "$trx" ] || continue
  line="$(grep -o '<Counters [^>]*' "$trx" | head -n 1)"
  p="$(sed -E 's/.* passed="([0-9]+)".*/\1/' <<<"$line")"; t="$(sed -E "s/.* total=\"([0-9]+)\".*/\1/" <<<"$line")"
  passed=$((passed + p)); failed=$((failed + t - p))
done
[ "$passed" -gt 0 ] || { status=1; failed=$((failed + 1)); }
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$status" = 0 ] && [ "$failed" = 0 ]

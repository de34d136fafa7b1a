#!/usr/bin/env bash
# The figures of the Speed guarantees (docs/performance.md): bash eng/bench.sh [--quick] [--list] [--operations] [FILTER]
# One line a figure on the output, as `G50 read-untracked libsodium postgres 1.52 (bar 1.80)`, with MISSED behind a missed bar; times and medians on the error stream.
# PostgreSQL: EFENVELOPE_TEST_POSTGRES, else a throw-away cluster from local binaries. Exit code: 0 every bar is met, 1 a build or a measurement failed, 2 wrong arguments, 3 a bar is missed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
dotnet build benchmarks/EfEnvelope.Benchmarks -c Release -v quiet -clp:NoSummary >&2 || exit 1
exec dotnet benchmarks/EfEnvelope.Benchmarks/bin/Release/net10.0/EfEnvelope.Benchmarks.dll "$@"

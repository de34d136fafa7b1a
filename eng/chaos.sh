#!/usr/bin/env bash
# The re-encryption job under fire: bash eng/chaos.sh [--rows N] [--writes-per-second N] [--workers N] [--kills N] [--interleavings N] [--seed N]
# Defaults: 1,000,000 rows of two encrypted columns on a throw-away PostgreSQL, 200 writes a second, four worker processes of which two are killed, 1,000,000 interleavings.
# The last line is one JSON object. Exit code: 0 only when no update was lost, the census is zero and every surviving worker proved it, by a completion report that verifies.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
dotnet build tests/EfEnvelope.JobProcess -c Release -v quiet -clp:NoSummary >&2 || exit 1
exec dotnet tests/EfEnvelope.JobProcess/bin/Release/net10.0/EfEnvelope.JobProcess.dll chaos "$@"

#!/usr/bin/env bash
# Runs AES-256-GCM (both backends), HKDF-SHA-256 and HMAC-SHA-256 against Wycheproof's vectors, which are not part of this repository.
# Usage: bash eng/wycheproof.sh FOLDER   (testvectors_v1 of a clone of https://github.com/C2SP/wycheproof)
# Prints one line an algorithm. Exit code: 0 only when every vector held; a folder without one of the three files fails.
set -euo pipefail
[ $# = 1 ] && [ -d "$1" ] || { echo "Usage: bash eng/wycheproof.sh FOLDER (testvectors_v1 of C2SP/wycheproof)" >&2; exit 2; }
EFENVELOPE_WYCHEPROOF="$(cd "$1" && pwd)"; export EFENVELOPE_WYCHEPROOF
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
dotnet build tests/EfEnvelope.Tests -c Release -v quiet -clp:NoSummary
dotnet test tests/EfEnvelope.Tests -c Release --no-build --filter "FullyQualifiedName~WycheproofTests" --logger "console;verbosity=detailed" \
  | grep -E '^ *(AES-256-GCM|HKDF-SHA-256|HMAC-SHA-256): |^ *(Passed|Failed) |Error Message|is missing|^Test Run|^ *(Total|Passed|Failed)'

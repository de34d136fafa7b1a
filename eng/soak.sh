#!/usr/bin/env bash
# The random and counted tests of cryptography and parsing, longer than the suite has time for.
# Usage: bash eng/soak.sh [FACTOR]   FACTOR times the suite's rounds (default 10, a few minutes)
# Exit code: 0 only when every test passed. A failure names its seed: CsCheck_Seed=... or EFENVELOPE_FUZZ_SEED=... repeats it.
set -euo pipefail
EFENVELOPE_SOAK="${1:-10}"; export EFENVELOPE_SOAK
[[ "$EFENVELOPE_SOAK" =~ ^[1-9][0-9]{0,5}$ ]] || { echo "Usage: bash eng/soak.sh [FACTOR]" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
dotnet build tests/EfEnvelope.Tests -c Release -v quiet -clp:NoSummary
dotnet test tests/EfEnvelope.Tests -c Release --no-build --logger "console;verbosity=normal" \
  --filter "FullyQualifiedName~BouncyCastleTests|FullyQualifiedName~EnvelopeRefusalTests|FullyQualifiedName~FuzzTests"

#!/usr/bin/env bash
# dotnet-ef on the demo's contexts, in a temporary copy, with no key service in reach: migrations add (and the refusal of encrypting a column in place), database update, dbcontext optimize,
# and a run of the demo on the compiled model. PostgreSQL too where EFENVELOPE_TEST_POSTGRES holds a connection string (a database of its own is made and dropped by dotnet-ef).
# Exit code 0 only when everything held; takes two to four minutes.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
# A call of a key service would fail here and show.
export AWS_ENDPOINT_URL_KMS=http://127.0.0.1:1 AWS_EC2_METADATA_DISABLED=true
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE || true

step() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

step "copy and restore"
(cd "$root" && tar --exclude=bin --exclude=obj --exclude=.git -cf - .config Directory.Build.props Directory.Packages.props global.json .editorconfig README.md src samples) | tar -xf - -C "$copy"
cd "$copy"
git init -q . # for the deterministic build's source root
dotnet tool restore >/dev/null
cd samples/BankingDemo
build() { dotnet build -v quiet -clp:NoSummary -p:TreatWarningsAsErrors=false >"$copy/build.log" 2>&1 || { cat "$copy/build.log"; fail "build"; }; }
ef() { dotnet ef "$@" --no-build; }
build

contexts=(Sqlite)
if [ -n "${EFENVELOPE_TEST_POSTGRES:-}" ]; then
  contexts+=(Postgres)
  export BANKINGDEMO_POSTGRES="$EFENVELOPE_TEST_POSTGRES;Database=efenvelope_ef_tools_$$"
fi

for c in Sqlite Postgres; do
  step "$c: the migrations that are checked in are those of the model"
  ef migrations has-pending-model-changes --context "${c}BankContext"
done

step "an existing plaintext column is not encrypted in place"
cp Model/Entities.cs "$copy/Entities.cs"
sed -i.bak 's/    public decimal Balance { get; set; }/    [Encrypted]\n    public decimal Balance { get; set; }/' Model/Entities.cs && rm Model/Entities.cs.bak
build
for c in Sqlite Postgres; do
  before="$(ls "Migrations/$c" | wc -l)"
  if ef migrations add InPlace --context "${c}BankContext" -o "Migrations/$c" >"$copy/inplace.log" 2>&1; then fail "$c: migrations add took it"; fi
  grep -q 'Accounts.Balance exists and holds plaintext' "$copy/inplace.log" || { cat "$copy/inplace.log"; fail "$c: the refusal does not say why"; }
  [ "$(ls "Migrations/$c" | wc -l)" = "$before" ] || fail "$c: a refused migration left files"
done
cp "$copy/Entities.cs" Model/Entities.cs

step "migrations add: a new encrypted column"
sed -i.bak 's/    public List<Account> Accounts/    [Encrypted]\n    public string? Email { get; set; }\n\n    public List<Account> Accounts/' Model/Entities.cs && rm Model/Entities.cs.bak
build
for c in Sqlite Postgres; do
  ef migrations add AddEmail --context "${c}BankContext" -o "Migrations/$c" >/dev/null
  grep -Eq 'type: "(BLOB|bytea)"' "Migrations/$c"/*_AddEmail.cs || fail "$c: the new column is not binary"
done
build

for c in "${contexts[@]}"; do
  step "$c: database update"
  ef database update --context "${c}BankContext" >/dev/null
  ef migrations has-pending-model-changes --context "${c}BankContext"
done
[ -s banking-demo.db ] || fail "database update made no database"

step "dbcontext optimize, and a run on the compiled models"
for c in Sqlite Postgres; do
  ef dbcontext optimize --context "${c}BankContext" -o "Compiled/$c" -n "BankingDemo.Compiled.$c" >/dev/null
  grep -q "DbContextModel(typeof.*${c}BankContext" Compiled/$c/*AssemblyAttributes.cs || fail "$c: the compiled model is not announced to EF"
done
build
dotnet run --no-build -- --customers 20 --folder "$copy/demo" >"$copy/demo.log" || { cat "$copy/demo.log"; fail "the demo on the compiled model"; }
grep -q 'No row names a rotated or compromised key' "$copy/demo.log" || fail "the demo's census"
if [ -n "${BANKINGDEMO_POSTGRES:-}" ]; then
  dotnet run --no-build -- --customers 20 --folder "$copy/demo" --postgres "$BANKINGDEMO_POSTGRES" >"$copy/demo.log" || { cat "$copy/demo.log"; fail "the demo on the compiled model, PostgreSQL"; }
  ef database drop --force --context PostgresBankContext >/dev/null
fi
echo "dotnet-ef: everything held (${contexts[*]})"

#!/usr/bin/env bash
# Packs, and does what a newcomer does with the packages: a console application of their own outside of the repository, the README's quick start on SQLite, a migration, a save, a rotation, the verbs.
# The rules that travel with the package are shown to warn, and to cause no warning where all is well (warnings are errors there).
# Takes a minute or two. Exit code 0 only when everything held.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work="$(mktemp -d)"
version="0.0.0-check.$(date +%s)" # of its own, so that no cache answers for it
cache="${NUGET_PACKAGES:-$HOME/.nuget/packages}"
trap 'rm -rf "$work" "$cache"/efenvelope*/"$version"' EXIT
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

dotnet pack "$root/EfEnvelope.sln" -c Release -o "$work/packages" -v quiet -clp:NoSummary -p:Version="$version" >"$work/pack.log" 2>&1 || { tail -n 20 "$work/pack.log"; fail "pack"; }
for package in EfEnvelope EfEnvelope.Cli EfEnvelope.Quartz; do [ -s "$work/packages/$package.$version.nupkg" ] || fail "no package $package"; done

mkdir "$work/shop"; cd "$work/shop"
ef="$(sed -n 's:.*<EfCoreVersion>\(.*\)</EfCoreVersion>.*:\1:p' "$root/Directory.Packages.props")"
cat > nuget.config <<XML
<configuration><packageSources><add key="packed" value="$work/packages" /></packageSources></configuration>
XML
cat > shop.csproj <<XML
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><Nullable>enable</Nullable><ImplicitUsings>enable</ImplicitUsings><TreatWarningsAsErrors>true</TreatWarningsAsErrors></PropertyGroup>
  <ItemGroup>
    <PackageReference Include="EfEnvelope" Version="$version" />
    <PackageReference Include="EfEnvelope.Cli" Version="$version" />
    <PackageReference Include="Microsoft.EntityFrameworkCore.Sqlite" Version="$ef" />
    <PackageReference Include="Microsoft.EntityFrameworkCore.Design" Version="$ef" />
  </ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using EfEnvelope;
using EfEnvelope.Cli;
using Microsoft.EntityFrameworkCore;

if (args is ["envelope", .. var verb]) return await EnvelopeCommandLine.RunAsync(verb, () => new ShopContext());

var tenantId = Guid.Parse("11111111-1111-1111-1111-111111111111");
await using var context = new ShopContext();
await context.Database.MigrateAsync();
context.Add(new Customer { TenantId = tenantId, FullName = "Ada Lovelace", BirthDate = new DateOnly(1815, 12, 10) });
await context.SaveChangesAsync();
var keys = new EnvelopeKeys(context);
await keys.RotateAsync(EnvelopeScope.Tenant(tenantId));
var report = await keys.ReencryptAsync();
foreach (var c in await context.Customers.AsNoTracking().ToListAsync()) Console.WriteLine($"{c.FullName} {c.BirthDate:yyyy-MM-dd} proven:{report.IsProven}");
return 0;

public sealed class Customer
{
    public int Id { get; set; }
    public Guid TenantId { get; set; }
    [Encrypted] public required string FullName { get; set; }
    [Encrypted] public DateOnly? BirthDate { get; set; }
}

public sealed class ShopContext : DbContext
{
    public DbSet<Customer> Customers => Set<Customer>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Customer>().HasDataKeyPerTenant(c => c.TenantId);
        modelBuilder.UseEnvelopeEncryption();
    }

    protected override void OnConfiguring(DbContextOptionsBuilder options)
        => options.UseSqlite("Data Source=shop.db").UseEnvelopeEncryption(e => e.UseLocalKms("dev-keys.json").With(o => o with { SealingLease = TimeSpan.FromSeconds(2) }));
}
CS
mkdir .config && cp "$root/.config/dotnet-tools.json" .config/ && dotnet tool restore >/dev/null
dotnet build -v quiet -clp:NoSummary >"$work/build.log" 2>&1 || { cat "$work/build.log"; fail "build against the packages"; }

# The rules: both assemblies are in the package.
for dll in EfEnvelope.Analyzers.dll EfEnvelope.Analyzers.CodeFixes.dll; do [ -s "$cache/efenvelope/$version/analyzers/dotnet/cs/$dll" ] || fail "no analyzers/dotnet/cs/$dll in the package"; done
if grep -q 'id="EfEnvelope.Analyzers' "$cache/efenvelope/$version/efenvelope.nuspec"; then fail "the package depends on its analyzers"; fi

# A build that forgets the call shows the rule, and no other; so do a key and a query that the model and the database refuse.
mkdir "$work/forgot"
sed 's:<TreatWarningsAsErrors>true</TreatWarningsAsErrors>::' shop.csproj > "$work/forgot/forgot.csproj"
cp nuget.config "$work/forgot/"
sed -e 's/modelBuilder.UseEnvelopeEncryption();//' -e 's/\.UseEnvelopeEncryption(e => .*;$/;/' Program.cs > "$work/forgot/Program.cs"
if grep -q 'UseEnvelopeEncryption' "$work/forgot/Program.cs"; then fail "the forgetful program still calls UseEnvelopeEncryption"; fi
cat > "$work/forgot/More.cs" <<'CS'
using EfEnvelope;
using Microsoft.EntityFrameworkCore;

[Index(nameof(Iban))]
public sealed class Payee
{
    public int Id { get; set; }
    [Encrypted] public required string Iban { get; set; }

    public static IQueryable<Payee> Find(IQueryable<Payee> all, string iban) => all.Where(p => p.Iban == iban);
}
CS
dotnet build "$work/forgot" -v quiet -clp:NoSummary >"$work/forgot.log" 2>&1 || { cat "$work/forgot.log"; fail "build of the forgetful program"; }
for rule in 001 002 003; do grep -q "warning EFENV$rule: " "$work/forgot.log" || { cat "$work/forgot.log"; fail "EFENV$rule is not shown"; }; done
if grep -E 'CS8032|AD0001' "$work/forgot.log"; then fail "the rules do not load"; fi

dotnet ef migrations add Initial --no-build >/dev/null
dotnet build -v quiet -clp:NoSummary >"$work/build.log" 2>&1 || { cat "$work/build.log"; fail "build with the migration"; }

if env -u DOTNET_ENVIRONMENT -u ASPNETCORE_ENVIRONMENT dotnet run --no-build >"$work/production.log" 2>&1; then fail "the local key file was taken in Production"; fi
grep -q 'DOTNET_ENVIRONMENT=Development' "$work/production.log" || fail "the refusal in Production does not say what to do"

export DOTNET_ENVIRONMENT=Development
[ "$(dotnet run --no-build)" = "Ada Lovelace 1815-12-10 proven:True" ] || fail "the quick start"
if grep -q 'Ada Lovelace' shop.db; then fail "plaintext in the database"; fi
dotnet run --no-build -- envelope status | grep -q 'Deactivated' || fail "envelope status"
dotnet run --no-build -- envelope census | grep -q '0 under stale keys' || fail "envelope census"
code=0; dotnet run --no-build -- envelope nonsense >/dev/null 2>&1 || code=$?
[ "$code" = 2 ] || fail "exit code of a wrong verb: $code"
echo "packages: everything held ($version)"

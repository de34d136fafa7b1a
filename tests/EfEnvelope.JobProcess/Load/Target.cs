using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.JobProcess.Load;

/// <summary>A database with its key service and clock, as every process of a test sees it.</summary>
internal sealed class Target(string provider, string connectionString, string keyFile, TimeSpan sealingLease, TimeSpan clockSkew = default)
{
    public const string Postgres = "PostgreSQL";
    public const string Sqlite = "SQLite";

    private readonly TimeProvider _time = clockSkew == TimeSpan.Zero ? TimeProvider.System : new SkewedTime(clockSkew);

    private DbContextOptions? _options;

    public string Provider => provider;

    public string ConnectionString => connectionString;

    public string KeyFile => keyFile;

    public TimeSpan SealingLease => sealingLease;

    public bool IsPostgres => provider == Postgres;

    public LoadContext CreateContext(params IInterceptor[] interceptors)
        => new(interceptors.Length == 0 ? _options ??= Options([]) : Options(interceptors));

    private DbContextOptions Options(IInterceptor[] interceptors)
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        _ = IsPostgres ? builder.UseNpgsql(connectionString) : builder.UseSqlite(connectionString);
        builder.AddInterceptors(interceptors);
        builder.UseEnvelopeEncryption(envelope => envelope
            .UseLocalKms(keyFile, o => o with { AllowInProduction = true })
            .UseTimeProvider(_time)
            .With(o => o with { SealingLease = sealingLease }));
        return builder.Options;
    }

    public System.Data.Common.DbConnection Connect() => IsPostgres ? new Npgsql.NpgsqlConnection(connectionString) : new SqliteConnection(connectionString);

    private sealed class SkewedTime(TimeSpan skew) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + skew;
    }
}

using EfEnvelope.JobProcess.Load;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Samples;

/// <summary>A folder of a demo's own, and a look into it with an application of one's own.</summary>
public abstract class DemoTests : IDisposable
{
    protected string Folder { get; } = Directory.CreateDirectory(Path.Combine(TestFolder.Quick, $"efenvelope-demo-{Guid.NewGuid():N}")).FullName;

    protected string DatabasePath => Path.Combine(Folder, "banking-demo.db");

    private protected static void AssertSucceeded(DemoProcess run)
    {
        Assert.Equal("", run.Error);
        Assert.True(run.ExitCode == 0, run.Output);
        Assert.Contains("Census before", run.Output, StringComparison.Ordinal);
        Assert.Contains("Census after", run.Output, StringComparison.Ordinal);
        Assert.EndsWith("No row names a rotated or compromised key.", run.Output.TrimEnd(), StringComparison.Ordinal);
        Assert.DoesNotContain("Compromised", run.Output[run.Output.IndexOf("Census after", StringComparison.Ordinal)..], StringComparison.Ordinal);
    }

    protected async Task<long> ScalarAsync(string sql)
    {
        await using var connection = new SqliteConnection($"Data Source={DatabasePath};Pooling=False");
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        return (long)(await command.ExecuteScalarAsync())!;
    }

    /// <summary>The census's answer, counted by hand: the key id of every cell, and the state that the ring says it has.</summary>
    protected async Task AssertNoStaleCellAsync(int? cells)
    {
        await using var connection = new SqliteConnection($"Data Source={DatabasePath};Pooling=False");
        await connection.OpenAsync();
        var active = new HashSet<Guid>();
        await using (var keys = connection.CreateCommand())
        {
            keys.CommandText = $"SELECT \"Id\" FROM \"EnvelopeKeys\" WHERE \"State\" = {(int)KeyState.Active}";
            await using var reader = await keys.ExecuteReaderAsync();
            while (await reader.ReadAsync())
            {
                active.Add(reader.GetGuid(0));
            }
        }

        var found = 0;
        foreach (var (table, columns) in new[] { ("Customers", "FullName,Ssn,CreditLimit,BirthDate"), ("Accounts", "Iban"), ("Cards", "Pan"), ("Transfers", "Message") })
        {
            foreach (var column in columns.Split(','))
            {
                await using var command = connection.CreateCommand();
                command.CommandText = $"SELECT \"{column}\" FROM \"{table}\" WHERE \"{column}\" IS NOT NULL";
                await using var reader = await command.ExecuteReaderAsync();
                while (await reader.ReadAsync())
                {
                    found++;
                    Assert.True(EnvelopeCodec.TryReadKeyId((byte[])reader.GetValue(0), out var key), $"{table}.{column}");
                    Assert.Contains(key, active);
                }
            }
        }

        Assert.True(found > 0 && (cells is null || cells == found), $"{found} cells");
    }

    protected BankReader Open()
        => new(new DbContextOptionsBuilder().AmongMany().UseSqlite($"Data Source={DatabasePath};Pooling=False")
            .UseEnvelopeEncryption(e => e.UseLocalKms(Path.Combine(Folder, "dev-keys.json"), o => o with { Environment = "Development" }).UseTimeProvider(new FakeTimeProvider())).Options);

    public sealed class Customer
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        public required string Number { get; set; }

        [Encrypted]
        public required string FullName { get; set; }

        [Encrypted]
        public required string Ssn { get; set; }

        [Encrypted]
        public decimal CreditLimit { get; set; }

        [Encrypted]
        public DateOnly? BirthDate { get; set; }
    }

    public sealed class BankReader(DbContextOptions options) : DbContext(options)
    {
        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Customer>().ToTable("Customers").HasDataKeyPerTenant(c => c.TenantId);
            modelBuilder.UseEnvelopeEncryption();
        }
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}

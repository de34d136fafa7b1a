using EfEnvelope.Benchmarks.Running;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Benchmarks.Data;

/// <summary>A row with two encrypted columns, under its tenant's key.</summary>
internal sealed class Deposit
{
    public int Id { get; set; }

    public int TenantId { get; set; }

    [Encrypted]
    public string Holder { get; set; } = "";

    [Encrypted]
    public string Reference { get; set; } = "";
}

internal sealed class DepositContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Deposit> Deposits => Set<Deposit>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Deposit>(deposit =>
        {
            deposit.Property(d => d.Id).ValueGeneratedNever();
            deposit.HasDataKeyPerTenant(d => d.TenantId);
        });
        modelBuilder.UseEnvelopeEncryption();
    }
}

/// <summary>A database of deposits to re-encrypt.</summary>
internal sealed class Deposits(string provider, string backend, string connectionString)
{
    private const int Tenants = 4;

    private readonly DbContextOptions _options = new DbContextOptionsBuilder()
        .Use(provider, connectionString)
        .UseEnvelopeEncryption(envelope => envelope
            .UseInMemoryKms(connectionString)
            .With(o => o with { Cipher = backend == "bcl" ? CipherBackend.Bcl : CipherBackend.Libsodium }))
        .Options;

    public string ConnectionString => connectionString;

    public DepositContext CreateContext() => new(_options);

    public static async Task<Deposits> CreateAsync(string provider, string backend, int rows)
    {
        var deposits = new Deposits(provider, backend, await Databases.CreateAsync(provider));
        await using var context = deposits.CreateContext();
        await context.Database.EnsureCreatedAsync();
        await (provider == Databases.Postgres ? deposits.CopyAsync(context, rows) : deposits.InsertAsync(context, rows));
        return deposits;
    }

    /// <summary>New keys for every tenant: every row is stale.</summary>
    public async Task RotateAsync()
    {
        await using var context = CreateContext();
        foreach (var tenant in Enumerable.Range(1, Tenants))
        {
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(tenant), "benchmark");
        }

        await CleanAsync();
    }

    /// <summary>The whole job: both censuses, planning, every row; the wait for the cut-off is left out, since it does not depend on the rows.</summary>
    public async Task<ReencryptionReport> ReencryptAsync(int workers)
    {
        await using var context = CreateContext();
        return await new EnvelopeKeys(context).ReencryptAsync(new ReencryptionOptions { DegreeOfParallelism = workers, CutOffTimeout = TimeSpan.Zero, SampleSize = 0 });
    }

    public async Task ExecuteAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>Every turn finds the table as compact as the one before did.</summary>
    public Task CleanAsync() => provider == Databases.Postgres ? ExecuteAsync("VACUUM FULL ANALYZE \"Deposits\"; CHECKPOINT") : Task.CompletedTask;

    private async Task CopyAsync(DepositContext context, int rows)
    {
        var protector = new EnvelopeProtector(context);
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync();
        await using var importer = await connection.BeginBinaryImportAsync("COPY \"Deposits\" (\"Id\", \"TenantId\", \"Holder\", \"Reference\") FROM STDIN (FORMAT BINARY)");
        for (var id = 0; id < rows; id++)
        {
            var (holder, reference) = await SealAsync(protector, id);
            await importer.StartRowAsync();
            await importer.WriteAsync(id, NpgsqlDbType.Integer);
            await importer.WriteAsync(Tenant(id), NpgsqlDbType.Integer);
            await importer.WriteAsync(holder, NpgsqlDbType.Bytea);
            await importer.WriteAsync(reference, NpgsqlDbType.Bytea);
        }

        await importer.CompleteAsync();
    }

    private async Task InsertAsync(DepositContext context, int rows)
    {
        var protector = new EnvelopeProtector(context);

        // Made before: the ring writes on a connection of its own, and SQLite has one writer.
        await SealAsync(protector, 0);
        foreach (var tenant in Enumerable.Range(0, Tenants))
        {
            await SealAsync(protector, tenant);
        }

        await using var connection = new SqliteConnection(connectionString);
        await connection.OpenAsync();
        await using var transaction = (SqliteTransaction)await connection.BeginTransactionAsync();
        await using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = "INSERT INTO \"Deposits\" (\"Id\", \"TenantId\", \"Holder\", \"Reference\") VALUES (@id, @tenant, @holder, @reference)";
        SqliteParameter[] parameters = [command.Parameters.Add("@id", SqliteType.Integer), command.Parameters.Add("@tenant", SqliteType.Integer), command.Parameters.Add("@holder", SqliteType.Blob), command.Parameters.Add("@reference", SqliteType.Blob)];
        for (var id = 0; id < rows; id++)
        {
            var (holder, reference) = await SealAsync(protector, id);
            (parameters[0].Value, parameters[1].Value, parameters[2].Value, parameters[3].Value) = (id, Tenant(id), holder, reference);
            await command.ExecuteNonQueryAsync();
        }

        await transaction.CommitAsync();
    }

    private static async Task<(byte[] Holder, byte[] Reference)> SealAsync(EnvelopeProtector protector, int id)
    {
        var scope = EnvelopeScope.Tenant(Tenant(id));
        return (await protector.SealAsync((Deposit d) => d.Holder, $"Holder of deposit {id:00000000}", scope), await protector.SealAsync((Deposit d) => d.Reference, $"REF-{id:00000000}", scope));
    }

    private static int Tenant(int id) => (id % Tenants) + 1;
}

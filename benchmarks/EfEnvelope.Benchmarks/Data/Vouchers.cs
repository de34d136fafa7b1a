using EfEnvelope.Benchmarks.Running;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Data;

/// <summary>A row with a key of its own and two encrypted columns.</summary>
internal sealed class Voucher
{
    public int Id { get; set; }

    public int TenantId { get; set; }

    [Encrypted]
    public string Holder { get; set; } = "";

    [Encrypted]
    public string Reference { get; set; } = "";
}

internal sealed class VoucherContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Voucher> Vouchers => Set<Voucher>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Voucher>(voucher =>
        {
            voucher.Property(v => v.Id).ValueGeneratedNever();
            voucher.HasDataKeyPerTenant(v => v.TenantId);
            voucher.HasDataKeyPerRow();
        });
        modelBuilder.UseEnvelopeEncryption();
    }
}

/// <summary>A database of vouchers to re-encrypt: the keks of all tenants are retired, and with them the key of every row.</summary>
internal sealed class Vouchers(string provider, string connectionString)
{
    private const int Tenants = 4;
    private const int RowsOfSave = 1_000;

    private readonly DbContextOptions _options = new DbContextOptionsBuilder().Use(provider, connectionString).UseEnvelopeEncryption(envelope => envelope.UseInMemoryKms(connectionString)).Options;

    public VoucherContext CreateContext() => new(_options);

    public static async Task<Vouchers> CreateAsync(string provider, int rows)
    {
        var vouchers = new Vouchers(provider, await Databases.CreateAsync(provider));
        await using (var context = vouchers.CreateContext())
        {
            await context.Database.EnsureCreatedAsync();
        }

        for (var low = 0; low < rows; low += RowsOfSave)
        {
            await using var context = vouchers.CreateContext();
            context.AddRange(Enumerable.Range(low, Math.Min(RowsOfSave, rows - low)).Select(id => new Voucher { Id = id, TenantId = (id % Tenants) + 1, Holder = $"Holder of voucher {id:00000000}", Reference = $"REF-{id:00000000}" }));
            await context.SaveChangesAsync();
        }

        await using var operations = vouchers.CreateContext();
        foreach (var tenant in Enumerable.Range(1, Tenants))
        {
            await new EnvelopeKeys(operations).RotateAsync(EnvelopeScope.Tenant(tenant), "benchmark");
        }

        return vouchers;
    }

    /// <summary>The whole job: both censuses, planning, every row; without the wait for the cut-off.</summary>
    public async Task<ReencryptionReport> ReencryptAsync(int workers)
    {
        await using var context = CreateContext();
        return await new EnvelopeKeys(context).ReencryptAsync(new ReencryptionOptions { DegreeOfParallelism = workers, CutOffTimeout = TimeSpan.Zero, SampleSize = 0 });
    }
}

using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.JobProcess.Load;

/// <summary>The application whose rows the job re-encrypts.</summary>
internal sealed class LoadContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Item> Items => Set<Item>();

    public DbSet<Paper> Papers => Set<Paper>();

    public DbSet<Card> Cards => Set<Card>();

    public DbSet<Ledger> Ledgers => Set<Ledger>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        Configure<Item>(modelBuilder);
        Configure<Paper>(modelBuilder);
        Configure<Card>(modelBuilder);
        modelBuilder.Entity<Paper>().OwnsOne(p => p.Detail, detail => detail.ToJson());
        modelBuilder.Entity<Card>().HasDataKeyPerRow();
        modelBuilder.Entity<Ledger>(row =>
        {
            row.Property(r => r.Id).ValueGeneratedNever();
            row.HasIndex(r => r.Number).IsUnique();
        });
        modelBuilder.UseEnvelopeEncryption();
    }

    private static void Configure<T>(ModelBuilder modelBuilder)
        where T : class, IChaosRow
        => modelBuilder.Entity<T>(row =>
        {
            row.Property(r => r.Id).ValueGeneratedNever();
            row.HasIndex(r => r.Number).IsUnique();
            row.HasDataKeyPerTenant(r => r.TenantId);
        });
}

using System.ComponentModel.DataAnnotations;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>Under its tenant's key; a plain unique column and a concurrency token beside the encrypted ones.</summary>
public sealed class Owner
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public required string Code { get; set; }

    [ConcurrencyCheck]
    public int Version { get; set; }

    [Encrypted]
    public required string Name { get; set; }

    [Encrypted]
    public string? Note { get; set; }

    public List<Chip> Chips { get; set; } = [];

    public List<Deed> Deeds { get; set; } = [];
}

/// <summary>Each with a key of its own, under its tenant's.</summary>
public sealed class Chip
{
    public int Id { get; set; }

    public int OwnerId { get; set; }

    public Guid TenantId { get; set; }

    public string Label { get; set; } = "";

    [Encrypted]
    public required string Serial { get; set; }

    [Encrypted]
    public int Pin { get; set; }
}

/// <summary>Under the key of the owner that it belongs to.</summary>
public sealed class Deed
{
    public int Id { get; set; }

    public int OwnerId { get; set; }

    public Owner? Owner { get; set; }

    [Encrypted]
    public string? Text { get; set; }
}

/// <summary>Bound to a primary key that is a foreign key.</summary>
public sealed class Share
{
    public int OwnerId { get; set; }

    public Owner? Owner { get; set; }

    public int Number { get; set; }

    [Encrypted(RowBound = true)]
    public decimal Part { get; set; }
}

public class OwnerContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Owner> Owners => Set<Owner>();

    public DbSet<Chip> Chips => Set<Chip>();

    public DbSet<Deed> Deeds => Set<Deed>();

    public DbSet<Share> Shares => Set<Share>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Owner>(owner =>
        {
            owner.HasDataKeyPerTenant(o => o.TenantId);
            owner.HasIndex(o => o.Code).IsUnique();
        });
        modelBuilder.Entity<Chip>().HasDataKeyPerTenant(c => c.TenantId).HasDataKeyPerRow();
        modelBuilder.Entity<Deed>().HasDataKeyPerSubject("owner", d => d.OwnerId);
        modelBuilder.Entity<Share>().HasKey(s => new { s.OwnerId, s.Number });
        modelBuilder.UseEnvelopeEncryption();
    }
}

using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Data;

/// <summary>A row with five values that an application would encrypt, in the clear.</summary>
internal sealed class PlainCustomer : ICustomer
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public string FullName { get; set; } = "";

    public string Ssn { get; set; } = "";

    public string Street { get; set; } = "";

    public decimal CreditLimit { get; set; }

    public DateOnly BirthDate { get; set; }
}

/// <summary>The same row under its tenant's key.</summary>
internal sealed class SealedCustomer : ICustomer
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    [Encrypted]
    public string FullName { get; set; } = "";

    [Encrypted]
    public string Ssn { get; set; } = "";

    [Encrypted]
    public string Street { get; set; } = "";

    [Encrypted]
    public decimal CreditLimit { get; set; }

    [Encrypted]
    public DateOnly BirthDate { get; set; }
}

/// <summary>The same row with a key of its own.</summary>
internal sealed class RowKeyedCustomer : ICustomer
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    [Encrypted]
    public string FullName { get; set; } = "";

    [Encrypted]
    public string Ssn { get; set; } = "";

    [Encrypted]
    public string Street { get; set; } = "";

    [Encrypted]
    public decimal CreditLimit { get; set; }

    [Encrypted]
    public DateOnly BirthDate { get; set; }
}

internal interface ICustomer
{
    int Id { get; set; }

    Guid TenantId { get; set; }

    string FullName { get; set; }

    string Ssn { get; set; }

    string Street { get; set; }

    decimal CreditLimit { get; set; }

    DateOnly BirthDate { get; set; }
}

/// <summary>An application without EfEnvelope.</summary>
internal sealed class PlainContext(DbContextOptions options) : DbContext(options)
{
    protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<PlainCustomer>().Property(c => c.Id).ValueGeneratedNever();
}

/// <summary>The same application with EfEnvelope; the plain table is in its model too.</summary>
internal sealed class SealedContext(DbContextOptions options) : DbContext(options)
{
    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<PlainCustomer>().Property(c => c.Id).ValueGeneratedNever();
        modelBuilder.Entity<SealedCustomer>(customer =>
        {
            customer.Property(c => c.Id).ValueGeneratedNever();
            customer.HasDataKeyPerTenant(c => c.TenantId);
        });
        modelBuilder.Entity<RowKeyedCustomer>(customer =>
        {
            customer.Property(c => c.Id).ValueGeneratedNever();
            customer.HasDataKeyPerTenant(c => c.TenantId).HasDataKeyPerRow();
        });
        modelBuilder.UseEnvelopeEncryption();
    }
}

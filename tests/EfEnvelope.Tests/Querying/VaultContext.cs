using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Querying;

public enum Grade
{
    Low,
    High,
}

public sealed class Person
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public string City { get; set; } = "";

    [Encrypted]
    public required string Ssn { get; set; }

    [Encrypted]
    public string? Nick { get; set; }

    [Encrypted]
    public decimal Amount { get; set; }

    [Encrypted]
    public int Score { get; set; }

    [Encrypted]
    public DateOnly? Born { get; set; }

    [Encrypted]
    public bool Active { get; set; }

    [Encrypted]
    public Grade Grade { get; set; }

    [Encrypted]
    public byte[]? Photo { get; set; }

    [Encrypted(Armored = true)]
    public string? Note { get; set; }

    [Encrypted]
    public List<string>? Tags { get; set; }

    public Papers? Papers { get; set; }
}

public sealed class Papers
{
    public string Kind { get; set; } = "";

    [Encrypted]
    public string? Passport { get; set; }
}

public sealed class Word
{
    public int Id { get; set; }

    public string Text { get; set; } = "";

    public byte[] Bytes { get; set; } = [];

    public bool Set { get; set; }
}

public sealed class VaultContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Person> People => Set<Person>();

    public DbSet<Word> Words => Set<Word>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Person>(person =>
        {
            person.HasDataKeyPerTenant(p => p.TenantId);
            person.OwnsOne(p => p.Papers, papers => papers.ToJson());
        });
        modelBuilder.Entity<Word>();
        modelBuilder.UseEnvelopeEncryption();
    }
}

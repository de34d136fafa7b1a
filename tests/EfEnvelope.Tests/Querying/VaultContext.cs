using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Querying;

public enum Grade
{
    Low,
    High,
}

[Flags]
public enum Rights
{
    None = 0,
    Read = 1,
    Write = 2,
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

    [Encrypted]
    public Rights Rights { get; set; }

    [Encrypted]
    public DateTime Seen { get; set; }

    [Encrypted]
    public double Ratio { get; set; }

    [Encrypted]
    public int[]? Codes { get; set; }

    public Papers? Papers { get; set; }

    public List<Stamp> Stamps { get; set; } = [];

    public Reach Reach { get; set; } = new();

    public Card Card { get; set; } = new();

    public List<Card> OldCards { get; set; } = [];

    public List<Box> Boxes { get; set; } = [];

    public Home? Home { get; set; }

    public List<Device> Devices { get; set; } = [];
}

/// <summary>A complex type in columns of its own.</summary>
public sealed class Reach
{
    public string Kind { get; set; } = "";

    [Encrypted]
    public string? Phone { get; set; }
}

/// <summary>A complex type in a JSON document.</summary>
public sealed class Card
{
    public string Bank { get; set; } = "";

    [Encrypted]
    public string? Number { get; set; }
}

/// <summary>A complex type in a JSON array, with a part of its own.</summary>
public sealed class Box
{
    public string Kind { get; set; } = "";

    public Card Inside { get; set; } = new();
}

/// <summary>An owned type in a JSON array.</summary>
public sealed class Stamp
{
    public string Land { get; set; } = "";

    [Encrypted]
    public string? Visa { get; set; }
}

/// <summary>An owned type in the owner's table.</summary>
public sealed class Home
{
    public string City { get; set; } = "";

    [Encrypted]
    public string? Street { get; set; }
}

/// <summary>An owned type in a table of its own.</summary>
public sealed class Device
{
    public int Id { get; set; }

    public string Kind { get; set; } = "";

    [Encrypted]
    public string? Serial { get; set; }
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

    public IQueryable<Word> WordsLike(string text) => FromExpression(() => WordsLike(text));

    public IQueryable<Word> WordsBelow(int score) => FromExpression(() => WordsBelow(score));

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Person>(person =>
        {
            person.HasDataKeyPerTenant(p => p.TenantId);
            person.OwnsOne(p => p.Papers, papers => papers.ToJson());
            person.OwnsMany(p => p.Stamps, stamps => stamps.ToJson());
            person.ComplexProperty(p => p.Reach);
            person.ComplexProperty(p => p.Card, card => card.ToJson());
            person.ComplexCollection(p => p.OldCards, cards => cards.ToJson());
            person.ComplexCollection(p => p.Boxes, boxes =>
            {
                boxes.ToJson();
                boxes.ComplexProperty(b => b.Inside);
            });
            person.OwnsOne(p => p.Home);
            person.OwnsMany(p => p.Devices, devices => devices.HasKey(d => d.Id));
        });
        modelBuilder.Entity<Word>().ToTable("Words");
        modelBuilder.HasDbFunction(typeof(VaultContext).GetMethod(nameof(WordsLike))!);
        modelBuilder.HasDbFunction(typeof(VaultContext).GetMethod(nameof(WordsBelow))!);
        modelBuilder.UseEnvelopeEncryption();
    }
}

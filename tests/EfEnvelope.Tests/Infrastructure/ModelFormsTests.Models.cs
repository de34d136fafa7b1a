using EfEnvelope.JobProcess.Load;
using EfEnvelope.Metadata;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Infrastructure;

/// <summary>One model in each form, and the odd ones.</summary>
public abstract partial class ModelFormsTests
{
    public static class Attributes
    {
        public static void Configure(ModelBuilder model)
        {
            model.Entity<Card>().ToTable("Cards").ComplexProperty(c => c.Contact);
            model.Entity<Letter>().ToTable("Letters");
            model.Entity<Entry>().ToTable("Entries").HasKey(e => e.Code);
        }

        public static async Task SaveAsync(DbContext context, int n)
        {
            context.Add(new Card { TenantId = Guid.NewGuid(), Number = $"canary card {n}", Limits = [n, n], Contact = new Contact { Phone = $"canary phone {n}" } });
            context.Add(new Letter { CustomerId = n, Text = $"canary letter {n}" });
            context.Add(new Entry { Code = $"e{n}", Balance = $"canary entry {n}" });
            await context.SaveChangesAsync();
        }

        public static async Task<string[]> ReadAsync(DbContext context)
            =>
            [
                .. (await context.Set<Card>().ToListAsync()).SelectMany(c => new[] { c.Number, string.Join(',', c.Limits!), c.Contact.Phone! }),
                .. (await context.Set<Letter>().ToListAsync()).Select(l => l.Text),
                .. (await context.Set<Entry>().ToListAsync()).Select(e => e.Balance),
            ];

        [DataKeyPerTenant(nameof(TenantId))]
        [DataKeyPerRow(RowIdProperty = "Lineage")]
        public sealed class Card
        {
            public int Id { get; set; }

            public Guid TenantId { get; set; }

            [Encrypted(ColumnId = "card.number", Padding = 16)]
            public required string Number { get; set; }

            [Encrypted]
            public List<int>? Limits { get; set; }

            public Contact Contact { get; set; } = new();
        }

        public sealed class Contact
        {
            [Encrypted(Armored = true)]
            public string? Phone { get; set; }
        }

        [DataKeyPerSubject("customer", nameof(CustomerId))]
        public sealed class Letter
        {
            public int Id { get; set; }

            public long CustomerId { get; set; }

            [Encrypted]
            public required string Text { get; set; }
        }

        public sealed class Entry
        {
            public required string Code { get; set; }

            [Encrypted(RowBound = true)]
            public required string Balance { get; set; }
        }
    }

    public static class Fluent
    {
        public static void Configure(ModelBuilder model)
        {
            model.Entity<Card>(card =>
            {
                card.ToTable("Cards").HasDataKeyPerTenant(c => c.TenantId).HasDataKeyPerRow("Lineage");
                card.Property(c => c.Number).IsEncrypted(e => e.HasColumnId("card.number").HasPadding(16));
                card.PrimitiveCollection(c => c.Limits).IsEncrypted();
                card.ComplexProperty(c => c.Contact).Property(c => c.Phone).IsEncrypted(e => e.IsArmored());
            });
            model.Entity<Letter>().ToTable("Letters").HasDataKeyPerSubject("customer", l => l.CustomerId).Property(l => l.Text).IsEncrypted();
            model.Entity<Entry>().ToTable("Entries").HasKey(e => e.Code);
            model.Entity<Entry>().Property(e => e.Balance).IsEncrypted(e => e.IsRowBound());
        }

        public static void ConfigureByName(ModelBuilder model)
        {
            Configure(model);
            model.Entity<Card>().HasDataKeyPerTenant("TenantId");
            model.Entity<Letter>().HasDataKeyPerSubject("customer", "CustomerId");
            model.Entity(typeof(Letter).FullName!, letter => letter.Property("Text").IsEncrypted());
        }

        public static async Task SaveAsync(DbContext context, int n)
        {
            context.Add(new Card { TenantId = Guid.NewGuid(), Number = $"canary card {n}", Limits = [n, n], Contact = new Contact { Phone = $"canary phone {n}" } });
            context.Add(new Letter { CustomerId = n, Text = $"canary letter {n}" });
            context.Add(new Entry { Code = $"e{n}", Balance = $"canary entry {n}" });
            await context.SaveChangesAsync();
        }

        public static async Task<string[]> ReadAsync(DbContext context)
            =>
            [
                .. (await context.Set<Card>().ToListAsync()).SelectMany(c => new[] { c.Number, string.Join(',', c.Limits!), c.Contact.Phone! }),
                .. (await context.Set<Letter>().ToListAsync()).Select(l => l.Text),
                .. (await context.Set<Entry>().ToListAsync()).Select(e => e.Balance),
            ];

        public sealed class Card
        {
            public int Id { get; set; }

            public Guid TenantId { get; set; }

            public required string Number { get; set; }

            public List<int>? Limits { get; set; }

            public Contact Contact { get; set; } = new();
        }

        public sealed class Contact
        {
            public string? Phone { get; set; }
        }

        public sealed class Letter
        {
            public int Id { get; set; }

            public long CustomerId { get; set; }

            public required string Text { get; set; }
        }

        public sealed class Entry
        {
            public required string Code { get; set; }

            public required string Balance { get; set; }
        }
    }

    [DataKeyPerTenant(nameof(TenantId))]
    public abstract class Owned
    {
        public Guid TenantId { get; set; }
    }

    public sealed class Leaf : Owned
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class WithField
    {
        [Encrypted]
        private readonly string? _text;

        [Encrypted]
        private string? _note;

        public WithField(string? text) => _text = text;

        public int Id { get; set; }

        public string? Text => _text;

        public string? GetNote() => _note;

        public void SetNote(string note) => _note = note;
    }

    public abstract class Overridden
    {
        public int Id { get; set; }

        [Encrypted]
        public virtual string? Text { get; set; }
    }

    public sealed class Overriding : Overridden
    {
        public override string? Text { get; set; }
    }

    public sealed record Note(int Id, [property: Encrypted] string Text);

    public class Tree
    {
        public Guid Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    [DataKeyPerTenant(nameof(TenantId))]
    public sealed class DerivedWithScope : Tree;

    [DataKeyPerTenant(nameof(Id))]
    [DataKeyPerSubject("tree", nameof(Id))]
    public sealed class TwoScopes
    {
        public Guid Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class Label
    {
        public int Id { get; set; }

        public string Name { get; set; } = "";

        [Encrypted(Armored = true)]
        public string Text { get; set; } = "";
    }

    public interface IHasSsn
    {
        [Encrypted]
        string Ssn { get; }
    }

    public sealed class Kept : IHasSsn
    {
        public int Id { get; set; }

        [Encrypted]
        public string Ssn { get; set; } = "";
    }

    [EncryptedHistoryOf(typeof(Kept))]
    public sealed class KeptHistory : IHasSsn
    {
        public int Id { get; set; }

        public string Ssn { get; set; } = "";
    }

    public sealed class Masked : IHasSsn
    {
        public string Ssn { get; set; } = "";
    }

    [DataKeyPerSubject("a@b", nameof(Id))]
    public sealed class ForgedSubject
    {
        public Guid Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }
}

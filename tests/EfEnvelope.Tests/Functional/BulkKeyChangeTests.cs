using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary><c>ExecuteUpdate</c> of keys, which EF allows where it refuses <c>SaveChanges</c>: refused where encrypted values of the row would no longer open.</summary>
public sealed class BulkKeyChangeTests : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.AddRange(
            new Ledger { Code = "a", Balance = 5m },
            new Entry { Book = "a", Line = 1, Text = "canary bound" },
            new Deed { Code = "a", Owner = new Holder { Name = "canary owner" } },
            new Base { Code = "base" },
            new Derived { Code = "derived", Secret = "canary derived" },
            new Account { Code = "a", Tenant = 1, Name = "canary name", Home = new Home { Street = "canary street" }, Cards = [new Card { Number = "canary card" }], Chips = [new Card { Id = 1, Number = "canary chip" }] },
            new Account { Code = "b", Tenant = 2 },
            new Book { Code = "a", Pages = [new Card { Number = "canary page" }] },
            new Book { Code = "b" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_key_to_which_values_are_bound_is_refused()
    {
        await AssertRefusedAsync("Code", c => c.Set<Ledger>().Where(l => l.Code == "a").ExecuteUpdateAsync(s => s.SetProperty(l => l.Code, "z")));
        await AssertRefusedAsync("Line", c => c.Set<Entry>().ExecuteUpdateAsync(s => s.SetProperty(e => e.Note, "n").SetProperty(e => e.Line, e => e.Line + 1)));
        await AssertRefusedAsync("DeedCode", c => c.Set<Deed>().ExecuteUpdateAsync(s => s.SetProperty(d => d.Code, "z")));
        await AssertRefusedAsync("Code", c => c.Set<Base>().ExecuteUpdateAsync(s => s.SetProperty(b => b.Code, "z")));
        await using var context = New();
        Assert.Equal(5m, (await context.Set<Ledger>().SingleAsync(l => l.Code == "a")).Balance);
        Assert.Equal("canary owner", (await context.Set<Deed>().SingleAsync(d => d.Code == "a")).Owner.Name);
    }

    [Fact]
    public async Task The_owner_of_a_row_whose_owner_chooses_the_data_key_is_refused()
    {
        await AssertRefusedAsync("AccountCode", c => c.Set<Account>().SelectMany(a => a.Cards).ExecuteUpdateAsync(s => s.SetProperty(x => EF.Property<string>(x, "AccountCode"), "b")));
        await AssertRefusedAsync("AccountCode", c => c.Set<Account>().SelectMany(a => a.Chips).ExecuteUpdateAsync(s => s.SetProperty(x => EF.Property<string>(x, "AccountCode"), "b")));
        await using var context = New();
        Assert.Equal("canary card", (await context.Set<Account>().SingleAsync(a => a.Code == "a")).Cards.Single().Number);
    }

    [Fact]
    public async Task Other_keys_and_owners_are_set_and_what_they_hold_opens()
    {
        await using (var context = New())
        {
            Assert.Equal(1, await context.Set<Book>().SelectMany(b => b.Pages).ExecuteUpdateAsync(s => s.SetProperty(x => EF.Property<string>(x, "BookCode"), "b")));
            await context.Set<Account>().SelectMany(a => a.Cards).ExecuteDeleteAsync();
            await context.Set<Account>().SelectMany(a => a.Chips).ExecuteDeleteAsync();
            Assert.Equal(1, await context.Set<Account>().Where(a => a.Code == "a").ExecuteUpdateAsync(s => s.SetProperty(a => a.Code, "z")));
        }

        await using var reader = New();
        var account = await reader.Set<Account>().SingleAsync(a => a.Code == "z");
        Assert.Equal(("canary name", "canary street"), (account.Name, account.Home!.Street));
        Assert.Equal("canary page", (await reader.Set<Book>().SingleAsync(b => b.Code == "b")).Pages.Single().Number);
    }

    private async Task AssertRefusedAsync(string property, Func<DbContext, Task> update)
    {
        await using var context = New();
        var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => update(context));
        Assert.Equal(property, error.Property);
        Assert.Contains("no longer open", error.Message, StringComparison.Ordinal);
    }

    private static void Model(ModelBuilder model)
    {
        model.Entity<Ledger>().HasKey(l => l.Code);
        model.Entity<Entry>().HasKey(e => new { e.Book, e.Line });
        model.Entity<Deed>(deed =>
        {
            deed.HasKey(d => d.Code);
            deed.OwnsOne(d => d.Owner);
        });
        model.Entity<Base>().UseTptMappingStrategy().HasKey(b => b.Code);
        model.Entity<Derived>();
        model.Entity<Account>(account =>
        {
            account.HasDataKeyPerTenant(a => a.Tenant).HasKey(a => a.Code);
            account.OwnsOne(a => a.Home);
            account.OwnsMany(a => a.Cards, card => card.ToTable("Cards").HasKey(c => c.Id));
            account.OwnsMany(a => a.Chips, chip => chip.ToTable("Chips"));
        });
        model.Entity<Book>(book =>
        {
            book.HasKey(b => b.Code);
            book.OwnsMany(b => b.Pages, page => page.ToTable("Pages").HasKey(p => p.Id));
        });
        model.UseEnvelopeEncryption();
    }

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private sealed class Ledger
    {
        public required string Code { get; set; }

        [Encrypted(RowBound = true)]
        public decimal Balance { get; set; }
    }

    private sealed class Entry
    {
        public required string Book { get; set; }

        public int Line { get; set; }

        public string? Note { get; set; }

        [Encrypted(RowBound = true)]
        public string? Text { get; set; }
    }

    private sealed class Deed
    {
        public required string Code { get; set; }

        public Holder Owner { get; set; } = null!;
    }

    private sealed class Holder
    {
        [Encrypted(RowBound = true)]
        public required string Name { get; set; }
    }

    private class Base
    {
        public required string Code { get; set; }
    }

    private sealed class Derived : Base
    {
        [Encrypted(RowBound = true)]
        public string? Secret { get; set; }
    }

    private sealed class Account
    {
        public required string Code { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }

        public Home? Home { get; set; }

        public List<Card> Cards { get; set; } = [];

        public List<Card> Chips { get; set; } = [];
    }

    private sealed class Home
    {
        [Encrypted]
        public string? Street { get; set; }
    }

    private sealed class Book
    {
        public required string Code { get; set; }

        public List<Card> Pages { get; set; } = [];
    }

    private sealed class Card
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Number { get; set; }
    }
}

using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteWhoseKeyTests() : WhoseKeyTests("SQLite");

public sealed class PostgresWhoseKeyTests() : WhoseKeyTests("PostgreSQL");

/// <summary>Mappings in which it is not plain whose key a cell is sealed with: what was saved opens again, and a stub of another tenant changes nothing.</summary>
public abstract partial class WhoseKeyTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Entities_of_one_table_row_with_data_keys_of_their_own()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Order>(o =>
            {
                o.ToTable("Orders").HasDataKeyPerTenant(x => x.Tenant);
                o.HasOne(x => x.Detail).WithOne().HasForeignKey<OrderDetail>(d => d.Id);
                o.Navigation(x => x.Detail).IsRequired();
                o.Ignore(x => x.Paper);
                o.HasOne(x => x.Receipt).WithOne().HasForeignKey<Receipt>(d => d.Id);
            });
            m.Entity<OrderDetail>(d =>
            {
                d.ToTable("Orders");
                d.ComplexProperty(x => x.Paper, p => p.ToJson());
            });
            m.Entity<Receipt>().ToTable("Orders").HasDataKeyPerSubject("payer", r => r.Payer);
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(Model, new Order { Tenant = 1, Title = "title", Detail = new OrderDetail { Text = "text", Paper = new Paper { Secret = "secret" } }, Receipt = new Receipt { Payer = 7, Amount = 5 } });
        await using (var context = New(Model))
        {
            var order = await context.Set<Order>().Include(o => o.Detail).Include(o => o.Receipt).SingleAsync();
            Assert.Equal(("title", "text", "secret", 5m), (order.Title, order.Detail!.Text, order.Detail.Paper.Secret, order.Receipt!.Amount));
            (order.Title, order.Detail.Text, order.Detail.Paper.Secret, order.Receipt.Amount) = ("title 2", "text 2", "secret 2", 6);
            await context.SaveChangesAsync();
        }

        await using (var context = New(Model))
        {
            context.Attach(new Receipt { Id = 1, Payer = 8 }).Property(r => r.Amount).CurrentValue = 66;
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await using var reader = New(Model);
        var read = await reader.Set<Order>().AsNoTracking().Include(o => o.Detail).Include(o => o.Receipt).SingleAsync();
        Assert.Equal(("title 2", "text 2", "secret 2", 6m), (read.Title, read.Detail!.Text, read.Detail.Paper.Secret, read.Receipt!.Amount));
        Assert.Equal(3, await StoredCells.AssertSealedAsync(_database, reader, "title", "text", "secret"));
        Assert.Equal([("global", "1")], await StoredCells.ScopesAsync(_database, "Orders", "Text", "Tenant"));
        Assert.Equal([("subject:payer/7", "1")], await StoredCells.ScopesAsync(_database, "Orders", "Amount", "Tenant"));
    }

    [Fact]
    public async Task Entities_of_one_table_row_with_two_data_keys_do_not_both_hold_documents()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Order>(o =>
            {
                o.ToTable("Orders").HasDataKeyPerTenant(x => x.Tenant);
                o.HasOne(x => x.Detail).WithOne().HasForeignKey<OrderDetail>(d => d.Id);
                o.Navigation(x => x.Detail).IsRequired();
                o.ComplexProperty(x => x.Paper, p => p.ToJson());
                o.Ignore(x => x.Receipt);
            });
            m.Entity<OrderDetail>(d =>
            {
                d.ToTable("Orders");
                d.ComplexProperty(x => x.Paper, p => p.ToJson("DetailPaper"));
            });
            m.UseEnvelopeEncryption();
        }

        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(
            () => SaveAsync(Model, new Order { Tenant = 1, Title = "t", Paper = new Paper { Secret = "s" }, Detail = new OrderDetail { Text = "x", Paper = new Paper { Secret = "y" } } }));
        Assert.Contains("Declare one data key for both", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, await StoredCells.CountAsync(_database, "Orders"));
    }

    [Fact]
    public async Task Rows_that_are_owned_by_an_alternate_key()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Depot>(d =>
            {
                d.Property(x => x.Id).ValueGeneratedNever();
                d.HasDataKeyPerTenant(x => x.Tenant);
                d.HasAlternateKey(x => x.Code);
                d.OwnsMany(x => x.Crates, c =>
                {
                    c.ToTable("Crates").HasKey(x => x.Id);
                    c.WithOwner().HasForeignKey("DepotCode").HasPrincipalKey(x => x.Code);
                });
            });
            m.UseEnvelopeEncryption();
        }

        // Each depot's code is the other one's primary key.
        await SaveAsync(Model, new Depot { Id = 1, Code = 2, Tenant = 10, Crates = [new Crate { Seal = "a" }] }, new Depot { Id = 2, Code = 1, Tenant = 20, Crates = [new Crate { Seal = "b" }] });
        await using var reader = New(Model);
        Assert.Equal(["a", "b"], (await reader.Set<Depot>().AsNoTracking().OrderBy(d => d.Id).ToListAsync()).Select(d => d.Crates.Single().Seal));
    }

    [Fact]
    public async Task Rows_of_an_owner_that_is_removed_and_added_again_under_another_tenant()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Depot>(d =>
            {
                d.Property(x => x.Id).ValueGeneratedNever();
                d.HasDataKeyPerTenant(x => x.Tenant);
                d.OwnsMany(x => x.Crates, c => c.ToTable("Crates").HasKey(x => x.Id));
            });
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(Model, new Depot { Id = 1, Tenant = 1, Crates = [new Crate { Seal = "a" }] });
        await using (var context = New(Model))
        {
            context.Remove(await context.Set<Depot>().SingleAsync());
            context.Add(new Depot { Id = 1, Tenant = 2, Crates = [new Crate { Seal = "b" }] });
            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        Assert.Equal("b", (await reader.Set<Depot>().AsNoTracking().SingleAsync()).Crates.Single().Seal);
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(2, false)]
    public async Task A_row_with_a_key_of_its_own_that_is_removed_and_added_again(int tenant, bool loaded)
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Locker>(l =>
            {
                l.Property(x => x.Id).ValueGeneratedNever();
                l.HasDataKeyPerTenant(x => x.Tenant).HasDataKeyPerRow();
                l.OwnsMany(x => x.Crates, c => c.ToTable("Crates").HasKey(x => x.Id));
            });
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(Model, new Locker { Id = 1, Tenant = 1, Number = "one", Crates = [new Crate { Seal = "a" }] }, new Locker { Id = 2, Tenant = 1, Number = "alone" });
        await using (var context = New(Model))
        {
            if (loaded)
            {
                context.Remove(await context.Set<Locker>().SingleAsync(l => l.Id == 1));
            }

            context.Remove(loaded ? await context.Set<Locker>().SingleAsync(l => l.Id == 2) : new Locker { Id = 2, Tenant = 1 });
            context.Add(new Locker { Id = 2, Tenant = tenant, Number = "alone 2" });
            if (loaded)
            {
                context.Add(new Locker { Id = 1, Tenant = tenant, Number = "two", Crates = [new Crate { Seal = "b" }] });
            }

            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        var read = await reader.Set<Locker>().AsNoTracking().OrderBy(l => l.Id).ToListAsync();
        Assert.Equal((loaded ? "two" : "one", "alone 2", loaded ? "b" : "a"), (read[0].Number, read[1].Number, read[0].Crates.Single().Seal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_row_that_is_deleted_and_inserted_again_with_the_applications_own_row_id(bool inTransaction)
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Ticket>().HasDataKeyPerTenant(t => t.Tenant).HasDataKeyPerRow(nameof(Ticket.RowKey));
            m.UseEnvelopeEncryption();
        }

        var ticket = new Ticket { Tenant = 1, RowKey = Guid.NewGuid(), Text = "text" };
        await using (var context = New(Model))
        {
            await context.Database.EnsureCreatedAsync();
            await using var transaction = inTransaction ? await context.Database.BeginTransactionAsync() : null;
            context.Add(ticket);
            await context.SaveChangesAsync();
            context.Remove(ticket);
            await context.SaveChangesAsync();
            ticket.Id = 0;
            context.Add(ticket);
            await context.SaveChangesAsync();
            if (transaction is not null)
            {
                await transaction.CommitAsync();
            }
        }

        await using var reader = New(Model);
        Assert.Equal("text", (await reader.Set<Ticket>().SingleAsync()).Text);
    }

    [Fact]
    public async Task Rows_that_are_owned_by_a_binary_key()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Shelf>(s =>
            {
                s.HasDataKeyPerTenant(x => x.Tenant);
                s.OwnsMany(x => x.Crates, c => c.ToTable("Crates").HasKey(x => x.Id));
            });
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(Model, new Shelf { Id = [1, 2, 3], Tenant = 1, Crates = [new Crate { Seal = "a" }] }, new Shelf { Id = [1, 2, 4], Tenant = 2, Crates = [new Crate { Seal = "b" }] });
        await using (var context = New(Model))
        {
            var shelves = (await context.Set<Shelf>().ToListAsync()).OrderBy(s => s.Tenant).ToList();
            shelves[0].Crates[0].Seal = "a2";
            shelves[1].Crates.Add(new Crate { Seal = "b2" });
            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        Assert.Equal("a2|b|b2", string.Join('|', (await reader.Set<Shelf>().AsNoTracking().ToListAsync()).OrderBy(s => s.Tenant).SelectMany(s => s.Crates).Select(c => c.Seal).Order(StringComparer.Ordinal)));
    }

    [Fact]
    public async Task A_stub_of_a_type_with_a_table_of_its_own_under_an_abstract_root()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Creature>().UseTpcMappingStrategy().HasDataKeyPerTenant(c => c.Tenant).HasDataKeyPerRow();
            m.Entity<Whale>(w =>
            {
                w.ToTable("Whales");
                w.OwnsMany(x => x.Marks, c => c.ToTable("Marks").HasKey(x => x.Id));
            });
            m.Entity<Otter>().ToTable("Otters");
            m.UseEnvelopeEncryption();
        }

        var whale = new Whale { Tenant = 1, Name = "whale", Marks = [new Crate { Seal = "mark" }] };
        await SaveAsync(Model, whale, new Otter { Tenant = 1, Name = "otter" });
        await using (var context = New(Model))
        {
            var stub = new Whale { Id = whale.Id, Tenant = 1, Name = "?" };
            context.Attach(stub);
            stub.Name = "changed";
            stub.Marks.Add(new Crate { Seal = "z added" });
            Assert.Equal(2, await context.SaveChangesAsync());
        }

        await using (var context = New(Model))
        {
            context.Attach(new Whale { Id = whale.Id, Tenant = 2, Name = "?" }).Property(w => w.Name).CurrentValue = "evil";
            await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => context.SaveChangesAsync());
        }

        await using var reader = New(Model);
        var read = await reader.Set<Whale>().AsNoTracking().SingleAsync();
        Assert.Equal(("changed", "mark|z added"), (read.Name, string.Join('|', read.Marks.Select(c => c.Seal).Order(StringComparer.Ordinal))));
    }

    [Fact]
    public async Task A_tenant_in_the_second_table_of_a_split_entity()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Deal>(d =>
            {
                d.ToTable("Deals").HasDataKeyPerTenant(x => x.Tenant);
                d.SplitToTable("DealExtras", t =>
                {
                    t.Property(x => x.Tenant);
                    t.Property(x => x.Other);
                });
            });
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(Model, new Deal { Tenant = 1, Secret = "s", Other = "o" });
        await using (var context = New(Model))
        {
            var deal = await context.Set<Deal>().SingleAsync();
            (deal.Secret, deal.Other) = ("t", "p");
            await context.SaveChangesAsync();
        }

        foreach (var property in new[] { nameof(Deal.Secret), nameof(Deal.Other) })
        {
            await using var context = New(Model);
            context.Attach(new Deal { Id = 1, Tenant = 2 }).Property(property).CurrentValue = "evil";
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await using var reader = New(Model);
        var read = await reader.Set<Deal>().AsNoTracking().SingleAsync();
        Assert.Equal(("t", "p"), (read.Secret, read.Other));
    }

    [Fact]
    public async Task An_empty_Guid_in_the_owners_key()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Site>(s =>
            {
                s.HasKey(x => new { x.Region, x.Number });
                s.HasDataKeyPerTenant(x => x.Tenant);
                s.OwnsMany(x => x.Gates, g => g.ToTable("Gates").HasKey(x => x.Id));
            });
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(
            Model,
            new Site { Region = Guid.NewGuid(), Number = 1, Tenant = 1, Gates = [new Crate { Seal = "x" }] },
            new Site { Region = Guid.Empty, Number = 1, Tenant = 1, Gates = [new Crate { Seal = "y" }] });
        await using var context = New(Model);
        var site = await context.Set<Site>().SingleAsync(s => s.Region == Guid.Empty);
        site.Gates[0].Seal = "z";
        Assert.Equal(1, await context.SaveChangesAsync());
    }

    private async Task SaveAsync(Action<ModelBuilder> model, params object[] rows)
    {
        await using var context = New(model);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(rows);
        await context.SaveChangesAsync();
    }

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);
}

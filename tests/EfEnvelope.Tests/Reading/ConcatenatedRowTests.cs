using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteConcatenatedRowTests() : ConcatenatedRowTests("SQLite");

public sealed class PostgresConcatenatedRowTests() : ConcatenatedRowTests("PostgreSQL");

/// <summary>Concatenated queries: what stands in the tenant's place on one side is none on the other, and a cell is compared with its own row's tenant, or with nothing (G4).</summary>
public abstract class ConcatenatedRowTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Order>().ToTable("Orders").HasDataKeyPerTenant(o => o.Tenant);
        model.Entity<FormerOrder>().ToTable("FormerOrders").IsEncryptedHistoryOf(typeof(Order));
        model.Entity<Bill>(bill =>
        {
            bill.Property(b => b.Id).ValueGeneratedNever();
            bill.Property(b => b.Sum).IsEncrypted(e => e.IsRowBound());
        });
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        var one = new Order { Tenant = 1, SharedWith = 2, Note = "note 1" };
        context.AddRange(one, new Order { Tenant = 2, SharedWith = 1, Note = "note 2", Parent = one });
        var bill = new Bill { Id = 1, Sum = 1 };
        context.AddRange(bill, new Bill { Id = 2, Sum = 2, Parent = bill });
        await context.SaveChangesAsync();
        await _database.ExecuteAsync("INSERT INTO \"FormerOrders\" (\"Id\", \"Tenant\", \"Note\") SELECT \"Id\" + 10, \"Tenant\", \"Note\" FROM \"Orders\"");
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Another_column_in_the_tenants_place_is_not_compared_with_the_cells_of_its_side()
    {
        await using var context = New();
        var orders = context.Set<Order>();
        var sorted = new[] { "note 1", "note 1", "note 2", "note 2" };
        Assert.Equal(sorted, await NotesAsync(orders.Select(o => new Row { T = o.Tenant, Note = o.Note }).Concat(orders.Select(o => new Row { T = o.SharedWith, Note = o.Note }))));
        Assert.Equal(sorted, await NotesAsync(orders.Select(o => new Row { T = o.SharedWith, Note = o.Note }).Concat(orders.Select(o => new Row { T = o.Tenant, Note = o.Note }))));
        Assert.Equal(sorted, await NotesAsync(orders.Select(o => new Row { T = o.Tenant, Note = o.Note }).Concat(orders.Select(o => new Row { T = null, Note = o.Note }))));
        Assert.Equal(["note 1", "note 1", "note 2"], await NotesAsync(orders.Select(o => new Row { T = o.Tenant, Note = o.Note }).Concat(orders.Where(o => o.Parent != null).Select(o => new Row { T = o.Tenant, Note = o.Parent!.Note }))));
        Assert.Equal(["note 1", "note 1", "note 2"], await NotesAsync(orders.Where(o => o.Parent != null).Select(o => new Row { T = o.Tenant, Note = o.Parent!.Note }).Concat(orders.Select(o => new Row { T = o.Tenant, Note = o.Note }))));
    }

    [Fact]
    public async Task A_cell_of_another_tenant_is_refused_where_each_side_returns_its_own_rows_tenant()
    {
        (string Name, Func<DbContext, IQueryable<Row>> Query)[] shapes =
        [
            ("twice the same", c => Own(c).Concat(Own(c))),
            ("paged", c => Own(c).Concat(Own(c)).OrderBy(r => r.T).Take(9).Where(r => r.T < 9)),
            ("three", c => Own(c).Concat(Own(c)).Concat(Own(c))),
            ("the parent's", c => Own(c).Concat(c.Set<Order>().Where(o => o.Parent != null).Select(o => new Row { T = o.Parent!.Tenant, Note = o.Parent.Note }))),
            ("the parent's first", c => c.Set<Order>().Where(o => o.Parent != null).Select(o => new Row { T = o.Parent!.Tenant, Note = o.Parent.Note }).Concat(Own(c))),
            ("the children's, paged", c => Own(c).Concat(c.Set<Order>().Where(o => o.Parent != null).Select(o => new Row { T = o.Parent!.Tenant, Note = o.Parent.Note })).OrderBy(r => r.T).Take(9).Where(r => r.T < 9)),
        ];
        foreach (var (name, query) in shapes)
        {
            await using var context = New();
            Assert.True((await query(context).ToListAsync()).Count(r => r.Note is not null) >= 2, name);
        }

        await _database.ExecuteAsync("UPDATE \"Orders\" SET \"Note\" = (SELECT f.\"Note\" FROM \"FormerOrders\" f WHERE f.\"Tenant\" <> \"Orders\".\"Tenant\")");
        var passed = new List<string>();
        foreach (var (name, query) in shapes)
        {
            await using var context = New();
            if (await Record.ExceptionAsync(() => query(context).ToListAsync()) is not EnvelopeRefusedException)
            {
                passed.Add(name);
            }
        }

        Assert.Empty(passed);

        static IQueryable<Row> Own(DbContext context) => context.Set<Order>().Select(o => new Row { T = o.Tenant, Note = o.Note });
    }

    [Fact]
    public async Task Row_bound_cells_open_where_both_sides_return_their_key_and_are_refused_where_one_does_not()
    {
        await using var context = New();
        var bills = context.Set<Bill>();
        var both = bills.Select(b => new { b.Id, b.Sum }).Concat(bills.Where(b => b.Parent != null).Select(b => new { b.Parent!.Id, b.Parent.Sum }));
        Assert.Equal([1, 1, 2], (await both.ToListAsync()).Select(r => r.Sum).Order());
        var mixed = bills.Select(b => new { b.Id, b.Sum }).Concat(bills.Where(b => b.Parent != null).Select(b => new { b.Id, b.Parent!.Sum }));
        Assert.Equal("Sum", (await Assert.ThrowsAsync<EnvelopeQueryException>(() => mixed.ToListAsync())).Property);
    }

    private static async Task<List<string?>> NotesAsync(IQueryable<Row> query) => [.. (await query.ToListAsync()).Select(r => r.Note).Order(StringComparer.Ordinal)];

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private sealed class Row
    {
        public int? T { get; set; }

        public string? Note { get; set; }
    }

    private sealed class Order
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public int SharedWith { get; set; }

        public Order? Parent { get; set; }

        [Encrypted]
        public string? Note { get; set; }
    }

    private sealed class Bill
    {
        public int Id { get; set; }

        public Bill? Parent { get; set; }

        public int Sum { get; set; }
    }

    private sealed class FormerOrder
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Note { get; set; }
    }
}

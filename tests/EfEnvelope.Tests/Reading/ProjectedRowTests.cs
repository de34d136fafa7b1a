using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteProjectedRowTests() : ProjectedRowTests("SQLite");

public sealed class PostgresProjectedRowTests() : ProjectedRowTests("PostgreSQL");

/// <summary>Projections that return a part of what names a cell's key - the tenant, the row id, or nothing where the context knows the tenant: the cell is compared with that part (G4).</summary>
public abstract class ProjectedRowTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Card>().ToTable("Cards").HasDataKeyPerTenant(c => c.Tenant).HasDataKeyPerRow();
        model.Entity<Draft>().ToTable("Drafts").HasDataKeyPerTenant();
        model.Entity<Letter>().ToTable("Letters").HasDataKeyPerTenant().HasDataKeyPerRow();
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        foreach (var tenant in new[] { 1, 2 })
        {
            await using var context = New(tenant);
            await context.Database.EnsureCreatedAsync();
            context.AddRange(new Card { Tenant = tenant, Label = $"{tenant}a", Number = $"number {tenant}a" }, new Card { Tenant = tenant, Label = $"{tenant}b", Number = $"number {tenant}b" });
            context.AddRange(new Letter { Label = $"{tenant}", Text = $"letter {tenant}" });
            context.Add(new Draft { Label = $"{tenant}a", Text = $"draft {tenant}a", Next = new Draft { Label = $"{tenant}b", Text = $"draft {tenant}b" } });
            await context.SaveChangesAsync();
        }
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_rows_cell_of_another_tenant_is_refused_beside_the_tenant_alone(bool cold)
    {
        Func<TenantContext, Task<int>>[] shapes =
        [
            async c => (await c.Set<Card>().Select(x => new { x.Tenant, x.Number }).ToListAsync()).Count,
            c => Task.FromResult(c.Set<Card>().Select(x => new { x.Number, x.Tenant }).ToList().Count),
            async c => (await c.Set<Card>().OrderBy(x => x.Id).Select(x => new { x.Tenant, x.Number }).Take(9).Where(x => x.Tenant > 0).ToListAsync()).Count,
            async c => (await c.Set<Card>().Select(x => new { x.Tenant, Number = x.Label == "none" ? null : x.Number }).ToListAsync()).Count,
            async c => (await c.Set<Card>().Select(x => new { x.Tenant, Number = x.Label == "none" ? null : x.Number, x.Id }).OrderBy(x => x.Id).Take(9).Where(x => x.Tenant > 0).ToListAsync()).Count,
        ];
        await AssertAsync(shapes, 4, 1);
        await MoveAsync("Cards", "Number", "2a", "1a");
        await AssertRefusedAsync(shapes, 1, cold);
    }

    [Fact]
    public async Task A_cell_of_another_row_is_refused_beside_the_row_id_alone_and_passes_beside_its_tenant_alone()
    {
        Func<TenantContext, Task<int>>[] byRow = [async c => (await c.Set<Card>().Select(x => new { RowId = EF.Property<Guid>(x, "EnvelopeRowId"), x.Number }).ToListAsync()).Count];
        Func<TenantContext, Task<int>>[] byTenant = [async c => (await c.Set<Card>().Select(x => new { x.Tenant, x.Number }).ToListAsync()).Count];
        await AssertAsync(byRow, 4, 1);
        await MoveAsync("Cards", "Number", "1b", "1a");
        await AssertRefusedAsync(byRow, 1, cold: false);
        await AssertRefusedAsync(byRow, 1, cold: true);
        await AssertAsync(byTenant, 4, 1);
    }

    [Fact]
    public async Task A_row_without_its_tenant_has_no_cells()
    {
        await _database.ExecuteAsync("UPDATE \"Cards\" SET \"Tenant\" = NULL WHERE \"Label\" = '1a'");
        await AssertRefusedAsync([async c => (await c.Set<Card>().Select(x => new { Tenant = (int?)x.Tenant, x.Number }).ToListAsync()).Count], 1, cold: false);
    }

    [Fact]
    public async Task A_rows_cell_of_another_tenant_than_the_contexts_is_refused_alone()
    {
        Func<TenantContext, Task<int>>[] shapes =
        [
            async c => (await c.Set<Letter>().Where(x => x.Label == "1").Select(x => x.Text).ToListAsync()).Count,
            async c => (await c.Set<Letter>().Where(x => x.Label == "1").Select(x => new { x.Id, Text = c.Set<Letter>().Where(o => o.Id == x.Id).Select(o => o.Text).FirstOrDefault() }).ToListAsync()).Count,
        ];
        await AssertAsync(shapes, 1, 1);
        await MoveAsync("Letters", "Text", "2", "1");
        await AssertRefusedAsync(shapes, 1, cold: false);
        await AssertRefusedAsync(shapes, 1, cold: true);
    }

    [Fact]
    public async Task A_cell_of_another_tenant_than_the_contexts_is_refused_out_of_subqueries_and_conditions_too()
    {
        Func<TenantContext, Task<int>>[] shapes =
        [
            async c => (await Drafts(c).Select(x => new { x.Id, Text = c.Set<Draft>().Where(o => o.Id == x.Id).Select(o => o.Text).FirstOrDefault() }).ToListAsync()).Count,
            async c => (await Drafts(c).Select(x => x.Label == "1a" ? x.Text : x.Next!.Text).ToListAsync()).Count,
            async c => (await Drafts(c).Select(x => new { x.Id, Text = x.Label == "1a" ? x.Text : x.Next!.Text }).OrderBy(x => x.Id).Take(5).Where(x => x.Id > 0).ToListAsync()).Count,
        ];
        await AssertAsync(shapes, 1, 1);
        await using (var nobody = New(0))
        {
            await Assert.ThrowsAsync<MissingScopeException>(() => shapes[0](nobody));
        }

        await MoveAsync("Drafts", "Text", "2a", "1a");
        await AssertRefusedAsync(shapes, 1, cold: false);

        static IQueryable<Draft> Drafts(TenantContext context) => context.Set<Draft>().Where(x => x.Label == "1a");
    }

    /// <summary>Out of a subquery, a cell has nothing but its own column to say whether the context's tenant is asked for, or rows: each is asked its own question, whichever comes first.</summary>
    [Fact]
    public async Task Cells_of_unlike_kinds_out_of_subqueries_are_each_compared_with_what_they_belong_to()
    {
        Func<TenantContext, Task<int>>[] shapes =
        [
            async c => (await One(c).Select(x => new { A = c.Set<Card>().Where(o => o.Label == "2a").Select(o => o.Number).FirstOrDefault(), B = c.Set<Draft>().Where(o => o.Label == "1a").Select(o => o.Text).FirstOrDefault() }).ToListAsync()).Count(x => (x.A, x.B) == ("number 2a", "draft 1a")),
            async c => (await One(c).Select(x => new { B = c.Set<Draft>().Where(o => o.Label == "1a").Select(o => o.Text).FirstOrDefault(), A = c.Set<Card>().Where(o => o.Label == "2a").Select(o => o.Number).FirstOrDefault() }).ToListAsync()).Count(x => (x.A, x.B) == ("number 2a", "draft 1a")),
            async c => (await One(c).Select(x => new { A = c.Set<Letter>().Where(o => o.Label == "1").Select(o => o.Text).FirstOrDefault(), B = c.Set<Draft>().Where(o => o.Label == "1a").Select(o => o.Text).FirstOrDefault() }).ToListAsync()).Count(x => (x.A, x.B) == ("letter 1", "draft 1a")),
            async c => (await One(c).Select(x => new { B = c.Set<Draft>().Where(o => o.Label == "1a").Select(o => o.Text).FirstOrDefault(), A = c.Set<Letter>().Where(o => o.Label == "1").Select(o => o.Text).FirstOrDefault() }).ToListAsync()).Count(x => (x.A, x.B) == ("letter 1", "draft 1a")),
        ];
        await AssertAsync(shapes, 1, 1);
        foreach (var query in shapes)
        {
            await using var nobody = New(0);
            await Assert.ThrowsAsync<MissingScopeException>(() => query(nobody));
        }

        await MoveAsync("Drafts", "Text", "2a", "1a");
        await AssertRefusedAsync(shapes, 1, cold: false);
        await AssertRefusedAsync(shapes, 1, cold: true);

        static IQueryable<Draft> One(TenantContext context) => context.Set<Draft>().Where(x => x.Label == "1b");
    }

    private async Task AssertAsync(Func<TenantContext, Task<int>>[] shapes, int rows, int tenant)
    {
        foreach (var query in shapes)
        {
            await using var context = New(tenant);
            Assert.Equal(rows, await query(context));
        }
    }

    private async Task AssertRefusedAsync(Func<TenantContext, Task<int>>[] shapes, int tenant, bool cold)
    {
        for (var i = 0; i < shapes.Length; i++)
        {
            if (cold)
            {
                await using var connection = _database.Connect();
                KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
            }

            await using var context = New(tenant);
            var error = await Record.ExceptionAsync(() => shapes[i](context));
            Assert.True(error is EnvelopeRefusedException, $"{i}: {error?.ToString() ?? "was returned"}");
        }
    }

    private async Task MoveAsync(string table, string column, string from, string to)
        => Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = (SELECT o.\"{column}\" FROM \"{table}\" o WHERE o.\"Label\" = '{from}') WHERE \"Label\" = '{to}'"));

    private TenantContext New(int tenant) => new(_database.Options(e => e.UseTenant<TenantContext>(c => c.Tenant), AdHocContext.Cached), Model) { Tenant = tenant };

    private sealed class TenantContext(DbContextOptions options, Action<ModelBuilder> model) : AdHocContext(options, model)
    {
        public int Tenant { get; init; }
    }

    private sealed class Card
    {
        public int Id { get; set; }

        public int? Tenant { get; set; }

        public string Label { get; set; } = "";

        [Encrypted]
        public string? Number { get; set; }
    }

    private sealed class Draft
    {
        public int Id { get; set; }

        public string Label { get; set; } = "";

        public Draft? Next { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    private sealed class Letter
    {
        public int Id { get; set; }

        public string Label { get; set; } = "";

        [Encrypted]
        public string? Text { get; set; }
    }
}

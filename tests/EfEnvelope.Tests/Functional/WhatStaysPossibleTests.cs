using System.Data.Common;
using EfEnvelope.Tests.Architecture;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteWhatStaysPossibleTests() : WhatStaysPossibleTests("SQLite");

public sealed class PostgresWhatStaysPossibleTests() : WhatStaysPossibleTests("PostgreSQL");

/// <summary>
/// The limits that docs/threat-model.md states, pinned (G4): what somebody who writes to the database without a key can still do, and, beside each, where it ends. A test here that fails is a
/// change of the threat model: the page has to say so.
/// </summary>
public abstract class WhatStaysPossibleTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private TestDatabase _database = null!;
    private Forger _forger = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _forger = new Forger(_database);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        var customer = NewCustomer(TenantA, "one");
        context.AddRange(customer, NewCustomer(TenantA, "two"), NewCustomer(TenantB, "three"));
        context.AddRange(NewCard(TenantA, "one"), NewCard(TenantA, "two"), NewCard(TenantB, "three"));
        context.Add(new Account { Customer = customer, Iban = "iban" });
        context.Add(new Ledger { Code = "CH", Year = 2026, Balance = 1 });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public void Every_limit_that_is_pinned_here_stands_in_the_threat_model()
    {
        var page = File.ReadAllText(Path.Combine(RepositoryFolder.Path, "docs", "threat-model.md"));
        foreach (var sentence in new[]
        {
            "All encrypted cells of a row with a key of its own, together with its `EnvelopeRowId`, can be moved to another row of the same tenant or subject.",
            "Cells of rows that share their tenant's, subject's or the global key can be swapped within a column.",
            "An older value of the same cell can be put back, in row-bound columns too.",
            "A projection that does not return the row's tenant, subject or `EnvelopeRowId` cannot compare the cell with them: a cell of another row, tenant or subject passes, if its column and kind of scope fit.",
            "Neither can one that takes the cell from a subquery, or by a condition from one of several rows, whatever it returns beside it.",
            "What the query does return is compared: a row with a key of its own beside its tenant alone is of that tenant, beside its `EnvelopeRowId` alone of that row.",
            "NULL is not authenticated: a cell can be emptied.",
            "Rows can be deleted, and rows under a shared key copied.",
        })
        {
            Assert.Contains(sentence, page, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task All_encrypted_cells_of_a_row_with_its_row_id_move_within_a_tenant_but_not_to_another()
    {
        await SwapAsync("Cards", "one", "two", "Number", "Holder", "EnvelopeRowId");
        await using (var context = New())
        {
            Assert.Equal([("one", "two"), ("two", "one")], (await context.Cards.Where(c => c.TenantId == TenantA).OrderBy(c => c.Label).ToListAsync()).Select(c => (c.Label, c.Number)));
        }

        await SwapAsync("Cards", "one", "two", "Number", "Holder", "EnvelopeRowId");
        await SwapAsync("Cards", "one", "three", "Number", "Holder", "EnvelopeRowId");
        await using var other = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Cards.Where(c => c.Label == "one").ToListAsync());
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Cards.Where(c => c.Label == "three").ToListAsync());
    }

    [Fact]
    public async Task A_cell_without_its_row_id_is_refused_with_its_row_and_passes_alone()
    {
        await SwapAsync("Cards", "one", "two", "Number");
        await using var context = New();
        foreach (var read in new Func<Task>[]
        {
            () => context.Cards.Where(c => c.Label == "one").ToListAsync(),
            () => context.Cards.AsNoTracking().Where(c => c.Label == "two").ToListAsync(),
            () => context.Cards.FromSqlRaw("SELECT * FROM \"Cards\"").ToListAsync(),
            () => context.Cards.Where(c => c.Label == "one").Select(c => new { c.TenantId, RowId = EF.Property<Guid>(c, "EnvelopeRowId"), c.Number }).ToListAsync(),
        })
        {
            Assert.Equal("PaymentCard.Number", (await Assert.ThrowsAsync<EnvelopeRefusedException>(read)).ColumnId);
        }

        Assert.Equal("two", await context.Cards.Where(c => c.Label == "one").Select(c => c.Number).SingleAsync());
        Assert.Equal("two", (await context.Cards.Where(c => c.Label == "one").Select(c => new { c.TenantId, c.Number }).SingleAsync()).Number);

        // Beside its tenant it is that tenant's.
        await SwapAsync("Cards", "one", "three", "Number");
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Cards.Where(c => c.Label == "one").Select(c => new { c.TenantId, c.Number }).SingleAsync());
    }

    [Fact]
    public async Task Cells_swap_within_a_column_and_a_tenant_but_not_to_another_column_or_tenant()
    {
        await SwapAsync("Customers", "one", "two", "FullName");
        await using (var context = New())
        {
            Assert.Equal([("one", "two"), ("two", "one")], (await context.Customers.AsNoTracking().Where(c => c.TenantId == TenantA).OrderBy(c => c.Branch).ToListAsync()).Select(c => (c.Branch, c.FullName)));
        }

        await SwapAsync("Customers", "one", "three", "FullName");
        await using var other = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Customers.AsNoTracking().Where(c => c.Branch == "one").ToListAsync());
        await _database.ExecuteAsync("UPDATE \"Customers\" SET \"Ssn\" = \"FullName\" WHERE \"Branch\" = 'two'");
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Customers.AsNoTracking().Where(c => c.Branch == "two").ToListAsync());
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Customers.Where(c => c.Branch == "two").Select(c => c.Ssn).ToListAsync());
    }

    [Fact]
    public async Task An_older_value_can_be_put_back_in_row_bound_columns_too()
    {
        var card = await CellAsync("Cards", "Number", "\"Label\" = 'one'");
        var name = await CellAsync("Customers", "FullName", "\"Branch\" = 'one'");
        var balance = await CellAsync("Ledgers", "Balance", "\"Year\" = 2026");
        await using (var context = New())
        {
            (await context.Cards.SingleAsync(c => c.Label == "one")).Number = "newer";
            (await context.Customers.SingleAsync(c => c.Branch == "one")).FullName = "newer";
            (await context.Ledgers.SingleAsync()).Balance = 99;
            await context.SaveChangesAsync();
        }

        await _forger.PlantAsync("Cards", "Number", card, "\"Label\" = 'one'");
        await _forger.PlantAsync("Customers", "FullName", name, "\"Branch\" = 'one'");
        await _forger.PlantAsync("Ledgers", "Balance", balance, "\"Year\" = 2026");
        await using var reader = New();
        Assert.Equal("one", (await reader.Cards.SingleAsync(c => c.Label == "one")).Number);
        Assert.Equal("one", (await reader.Customers.SingleAsync(c => c.Branch == "one")).FullName);
        Assert.Equal(1, (await reader.Ledgers.SingleAsync()).Balance);
    }

    [Fact]
    public async Task A_cell_of_another_tenant_passes_in_a_projection_that_leaves_the_tenant_out_and_in_no_other()
    {
        await SwapAsync("Customers", "one", "three", "FullName");
        await using var context = New();
        Assert.Equal("three", await context.Customers.Where(c => c.Branch == "one").Select(c => c.FullName).SingleAsync());
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Customers.Where(c => c.Branch == "one").Select(c => new { c.TenantId, c.FullName }).SingleAsync());
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Customers.Where(c => c.Branch == "one").SingleAsync());
    }

    [Fact]
    public async Task A_cell_out_of_a_subquery_or_chosen_among_rows_is_compared_with_nothing()
    {
        await SwapAsync("Customers", "one", "three", "FullName");
        await using var context = New();
        var customers = context.Customers;
        Assert.Equal("three", (await customers.Where(c => c.Branch == "one").Select(c => new { c.TenantId, Name = customers.Where(x => x.Id == c.Id).Select(x => x.FullName).FirstOrDefault() }).SingleAsync()).Name);
        Assert.Equal("three", (await customers.Where(c => c.Branch == "one").Join(customers, c => c.Id, x => x.Id, (c, x) => new { c.TenantId, Name = c.Branch == "one" ? c.FullName : x.FullName }).SingleAsync()).Name);
    }

    [Fact]
    public async Task A_cell_can_be_emptied()
    {
        await _forger.PlantAsync("Customers", "Note", "NULL", "\"Branch\" = 'one'");
        await _forger.PlantAsync("Cards", "Holder", "NULL", "\"Label\" = 'one'");
        await using var context = New();
        Assert.Null((await context.Customers.SingleAsync(c => c.Branch == "one")).Note);
        Assert.Null((await context.Cards.SingleAsync(c => c.Label == "one")).Holder);
    }

    [Fact]
    public async Task Rows_can_be_deleted_and_those_under_a_shared_key_copied()
    {
        await _database.ExecuteAsync("DELETE FROM \"Cards\" WHERE \"Label\" = 'two'");
        await _database.ExecuteAsync("INSERT INTO \"Accounts\" (\"Id\", \"CustomerId\", \"Discriminator\", \"Iban\") SELECT 1000, \"CustomerId\", \"Discriminator\", \"Iban\" FROM \"Accounts\"");
        await using (var context = New())
        {
            Assert.Equal(["iban", "iban"], (await context.Accounts.ToListAsync()).Select(a => a.Iban));
            Assert.Equal(["one", "three"], (await context.Cards.OrderBy(c => c.Label).ToListAsync()).Select(c => c.Number));
        }

        await Assert.ThrowsAnyAsync<DbException>(() => _database.ExecuteAsync(
            "INSERT INTO \"Cards\" (\"Id\", \"TenantId\", \"Label\", \"Number\", \"Holder\", \"EnvelopeRowId\") SELECT 1000, \"TenantId\", 'copy', \"Number\", \"Holder\", \"EnvelopeRowId\" FROM \"Cards\" WHERE \"Label\" = 'one'"));
        await _database.ExecuteAsync("INSERT INTO \"Ledgers\" (\"Code\", \"Year\", \"Balance\") SELECT \"Code\", 2027, \"Balance\" FROM \"Ledgers\"");
        await using var other = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Ledgers.ToListAsync());
    }

    [Fact]
    public async Task A_row_that_is_given_to_another_tenant_is_refused()
    {
        await _database.ExecuteAsync("UPDATE \"Customers\" SET \"TenantId\" = (SELECT \"TenantId\" FROM \"Customers\" WHERE \"Branch\" = 'three') WHERE \"Branch\" = 'one'");
        await _database.ExecuteAsync("UPDATE \"Cards\" SET \"TenantId\" = (SELECT \"TenantId\" FROM \"Cards\" WHERE \"Label\" = 'three') WHERE \"Label\" = 'one'");
        await using var context = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Customers.SingleAsync(c => c.Branch == "one"));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Cards.SingleAsync(c => c.Label == "one"));
    }

    private async Task SwapAsync(string table, string first, string second, params string[] columns)
    {
        var name = table == "Cards" ? "Label" : "Branch";
        var (ofFirst, ofSecond) = (await LiteralsAsync(first), await LiteralsAsync(second));
        if (columns.Contains("EnvelopeRowId"))
        {
            // Its index is unique.
            await _forger.PlantAsync(table, "EnvelopeRowId", $"'{Guid.NewGuid()}'", $"\"{name}\" = '{first}'");
        }

        for (var i = 0; i < columns.Length; i++)
        {
            await _forger.PlantAsync(table, columns[i], ofFirst[i], $"\"{name}\" = '{second}'");
            await _forger.PlantAsync(table, columns[i], ofSecond[i], $"\"{name}\" = '{first}'");
        }

        async Task<List<string>> LiteralsAsync(string row)
        {
            var literals = new List<string>();
            foreach (var column in columns)
            {
                var value = await _database.ScalarAsync($"SELECT \"{column}\" FROM \"{table}\" WHERE \"{name}\" = '{row}'");
                literals.Add(value is byte[] bytes ? _forger.Literal(bytes) : $"'{value}'");
            }

            return literals;
        }
    }

    private async Task<byte[]> CellAsync(string table, string column, string where) => (byte[])(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"{table}\" WHERE {where}"))!;

    private BankContext New() => new(_database.Options());

    private static Customer NewCustomer(Guid tenant, string name) => new() { TenantId = tenant, Branch = name, FullName = name, Ssn = "s", Note = "note" };

    private static PaymentCard NewCard(Guid tenant, string name) => new() { TenantId = tenant, Label = name, Number = name, Holder = name };
}

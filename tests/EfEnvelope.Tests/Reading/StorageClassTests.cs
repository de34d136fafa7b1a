using EfEnvelope.Envelopes;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteStorageClassTests() : StorageClassTests("SQLite");

public sealed class PostgresStorageClassTests() : StorageClassTests("PostgreSQL");

/// <summary>
/// A value of another kind than the column's, planted in an encrypted column or in the column that says whose row it is (G2, G5): one typed error, whatever reads it. SQLite lets any column hold any
/// storage class; PostgreSQL what its type allows.
/// </summary>
public abstract class StorageClassTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private TestDatabase _database = null!;
    private Forger _forger = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _forger = new Forger(_database);
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = TenantA, FullName = "name", Ssn = "s", CreditLimit = 5, Note = "note", Tags = ["tag"], Profile = new Profile { Theme = "t", Secret = "secret" } });
        context.Add(new PaymentCard { TenantId = TenantA, Number = "number" });
        context.Add(new Ledger { Code = "CH", Year = 2026, Balance = 1 });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_planted_value_of_any_storage_class_in_a_binary_column_is_refused()
    {
        string[] literals = provider == "SQLite"
            ? ["0", "-1", "9223372036854775807", "1.5", "9e999", "''", "'text'", "'efe1:AAAA'", "x''", "x'00'", "x'C1'", "x'C101'", "zeroblob(54)", "zeroblob(55)", "zeroblob(1000000)"]
            : ["''::bytea", "'\\x00'", "'\\xC1'", "'\\xC101'", "decode(repeat('00', 54), 'hex')", "decode(repeat('00', 55), 'hex')", "decode(repeat('00', 1000000), 'hex')"];
        foreach (var literal in literals)
        {
            await AssertRefusedAsync("FullName", literal, "Customer.FullName", c => c.Customers.Select(x => x.FullName).ToListAsync());
            await AssertRefusedAsync("CreditLimit", literal, "Customer.CreditLimit", c => c.Customers.Select(x => new { x.TenantId, x.CreditLimit }).ToListAsync());
            await AssertRefusedAsync("Tags", literal, "Customer.Tags", c => c.Customers.Select(x => x.Tags).ToListAsync());
        }
    }

    [Fact]
    public async Task A_planted_value_of_any_storage_class_in_an_armoured_column_is_refused()
    {
        var cell = (string)(await _database.ScalarAsync("SELECT \"Note\" FROM \"Customers\""))!;
        List<string> literals = ["''", "'efe1:'", "'text'", $"'{cell} '", $"' {cell}'", $"'{cell.Replace("efe1:", "EFE1:", StringComparison.Ordinal)}'", $"'{new string('A', 1_000_000)}'"];
        if (provider == "SQLite")
        {
            literals.AddRange(["0", "-1", "1.5", "9e999", "x''", "x'FF'", "x'C101'", $"x'{Convert.ToHexString(TextArmor.Decode(cell))}'", "zeroblob(1000000)"]);
        }

        foreach (var literal in literals)
        {
            await AssertRefusedAsync("Note", literal, "Customer.Note", c => c.Customers.Select(x => x.Note).ToListAsync());
        }
    }

    [Fact]
    public async Task A_planted_text_in_a_json_document_is_refused()
    {
        foreach (var member in new[] { "\"plaintext\"", "\"\"", "\"efe1:AAAA\"", "\"efe1:\"", "\"\\u0065fe1:AAAA\"" })
        {
            await _forger.PlantAsync("Customers", "Profile", $"'{{\"Theme\":\"t\",\"Secret\":{member}}}'", "1 = 1");
            await AssertEachRefusedAsync(member, "", ReadsOfTheDocument);
        }
    }

    [Fact]
    public async Task A_planted_member_of_another_json_type_is_refused()
    {
        foreach (var member in new[] { "5", "1.5", "true", "{}", "[]", "{\"a\":[7777]}" })
        {
            await _forger.PlantAsync("Customers", "Profile", $"'{{\"Theme\":\"t\",\"Secret\":{member}}}'", "1 = 1");
            await AssertEachRefusedAsync(member, "", ReadsOfTheDocument);
        }
    }

    [Fact]
    public async Task A_planted_tenant_of_any_storage_class_is_nobodys()
    {
        string[] literals = provider == "SQLite"
            ? ["0", "1.5", "''", "'text'", "x''", "x'00'", "x'00112233445566778899AABBCCDDEEFF'", "'00000000-0000-0000-0000-000000000000'"]
            : ["'00000000-0000-0000-0000-000000000000'", "'aaaaaaaa-0000-0000-0000-000000000003'"];
        foreach (var literal in literals)
        {
            await _forger.PlantAsync("Customers", "TenantId", literal, "1 = 1");
            await AssertEachRefusedAsync(literal, "Customer.", c => c.Customers.ToListAsync(), c => c.Customers.AsNoTracking().ToListAsync(), c => c.Customers.Select(x => new { x.TenantId, x.FullName }).ToListAsync());
            await _forger.PlantAsync("Cards", "TenantId", literal, "1 = 1");
            await AssertEachRefusedAsync(literal, "PaymentCard.", c => c.Cards.ToListAsync(), c => c.Cards.AsNoTracking().ToListAsync());
        }
    }

    [Fact]
    public async Task A_planted_row_id_of_any_storage_class_is_nobodys()
    {
        string[] literals = provider == "SQLite"
            ? ["0", "1.5", "''", "'text'", "x''", "x'00'", "x'00112233445566778899AABBCCDDEEFF'"]
            : ["'00000000-0000-0000-0000-000000000000'", "'aaaaaaaa-0000-0000-0000-000000000003'"];
        foreach (var literal in literals)
        {
            await _forger.PlantAsync("Cards", "EnvelopeRowId", literal, "1 = 1");
            await AssertEachRefusedAsync(literal, "PaymentCard.", c => c.Cards.ToListAsync(), c => c.Cards.AsNoTracking().ToListAsync(), c => c.Cards.FromSqlRaw("SELECT * FROM \"Cards\"").ToListAsync());
        }
    }

    [Fact]
    public async Task A_planted_primary_key_of_any_storage_class_is_no_row_that_a_bound_value_is_of()
    {
        var balance = _forger.Literal((byte[])(await _database.ScalarAsync("SELECT \"Balance\" FROM \"Ledgers\""))!);
        string[] literals = provider == "SQLite" ? ["'text'", "''", "x''", "x'00'", "1.5", "9223372036854775807", "2027"] : ["2027", "-1"];
        foreach (var literal in literals)
        {
            await _database.ExecuteAsync("DELETE FROM \"Ledgers\"");
            await _database.ExecuteAsync($"INSERT INTO \"Ledgers\" (\"Code\", \"Year\", \"Balance\") VALUES ('CH', {literal}, {balance})");
            await AssertEachRefusedAsync(literal, "Ledger.", c => c.Ledgers.ToListAsync(), c => c.Ledgers.Select(l => new { l.Code, l.Year, l.Balance }).ToListAsync());
        }
    }

    private static Func<BankContext, Task>[] ReadsOfTheDocument =>
    [
        c => c.Customers.ToListAsync(),
        c => c.Customers.AsNoTracking().Select(x => x.Profile).ToListAsync(),
        c => c.Customers.Select(x => x.Profile!.Secret).ToListAsync(),
    ];

    private async Task AssertRefusedAsync(string column, string literal, string columnId, Func<BankContext, Task> projection)
    {
        var before = await _database.ScalarAsync($"SELECT \"{column}\" FROM \"Customers\"");
        await _forger.PlantAsync("Customers", column, literal, "1 = 1");
        await AssertEachRefusedAsync($"{column} = {literal}", columnId, c => c.Customers.ToListAsync(), c => c.Customers.AsNoTracking().ToListAsync(), c => Task.FromResult(c.Customers.ToList()), c => c.Customers.FromSqlRaw("SELECT * FROM \"Customers\"").ToListAsync(), projection);
        await _forger.PlantAsync("Customers", column, before is byte[] bytes ? _forger.Literal(bytes) : $"'{before}'", "1 = 1");
    }

    private async Task AssertEachRefusedAsync(string what, string columnId, params Func<BankContext, Task>[] reads)
    {
        for (var i = 0; i < reads.Length; i++)
        {
            await using var context = new BankContext(_database.Options());
            var error = await Record.ExceptionAsync(() => reads[i](context));
            Assert.True(error is EnvelopeRefusedException, $"{what[..Math.Min(80, what.Length)]}, read {i}: {error?.ToString() ?? "was returned"}");
            Assert.StartsWith(columnId, Assert.IsType<EnvelopeRefusedException>(error).ColumnId ?? "", StringComparison.Ordinal);
            Assert.DoesNotContain("7777", error.ToString(), StringComparison.Ordinal);
        }
    }
}

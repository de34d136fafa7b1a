using System.Data.Common;
using System.Globalization;
using System.Text;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Cryptography;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteRingRowFuzzTests() : RingRowFuzzTests("SQLite", 96);

public sealed class PostgresRingRowFuzzTests() : RingRowFuzzTests("PostgreSQL", 48);

/// <summary>Ring rows with anything in them (G8): whatever the database returns, a process opens, seals and lists, or gives a typed error.</summary>
public abstract class RingRowFuzzTests(string provider, int rounds) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = TenantA, FullName = "name", Ssn = "s" });
        context.Add(new PaymentCard { TenantId = TenantA, Number = "number" });
        await context.SaveChangesAsync();
        await _database.ExecuteAsync("CREATE TABLE \"KeysBefore\" AS SELECT * FROM \"EnvelopeKeys\"");
        await _database.ExecuteAsync("CREATE TABLE \"RingBefore\" AS SELECT * FROM \"EnvelopeRing\"");
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Any_value_in_any_column_of_the_ring_gives_a_typed_error_or_none()
    {
        var random = FuzzRandom.Create(out var seed);
        var columns = Columns(typeof(EnvelopeKeyRow), "EnvelopeKeys").Concat(Columns(typeof(EnvelopeRingRow), "EnvelopeRing")).ToList();
        var ids = await IdsAsync();
        var (written, refused) = (0, 0);
        for (var round = 0; round < rounds * Soak.Factor; round++)
        {
            var (table, column, type) = columns[round % columns.Count];
            var value = Value(random, type);
            var where = table == "EnvelopeRing" ? "1 = 1" : $"CAST(\"Id\" AS TEXT) = '{ids[random.Next(ids.Count)]}'";
            try
            {
                await _database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = {value} WHERE {where}");
                written++;
            }
            catch (DbException)
            {
                // The database itself refuses it: a constraint or a type.
                continue;
            }

            foreach (var (name, use) in Uses())
            {
                var error = await Record.ExceptionAsync(use);
                Assert.True(error is null or EnvelopeEncryptionException, $"Seed {seed}, round {round}, {table}.{column} = {value}, {name}: {error}");
                refused += error is null ? 0 : 1;
            }

            await RestoreAsync();
        }

        Assert.True(written > rounds / 2 && refused > rounds / 2, $"{written} values were written, {refused} uses refused.");
        await using var context = Cold();
        Assert.Equal(("name", "number"), ((await context.Customers.SingleAsync()).FullName, (await context.Cards.SingleAsync()).Number));
    }

    [Fact]
    public async Task Any_damage_to_an_export_is_refused_by_the_import_and_nothing_is_written()
    {
        var random = FuzzRandom.Create(out var seed);
        string text;
        await using (var context = Cold())
        {
            using var target = new MemoryStream();
            await new EnvelopeKeys(context).ExportAsync(target);
            text = Encoding.UTF8.GetString(target.ToArray());
        }

        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        var (imported, refused) = (0, 0);
        for (var round = 0; round < rounds * Soak.Factor; round++)
        {
            var damaged = JsonDamage.ApplyToLine(random, text);
            await using var context = Cold();
            var error = await Record.ExceptionAsync(() => new EnvelopeKeys(context).ImportAsync(new MemoryStream(Encoding.UTF8.GetBytes(damaged))));
            Assert.True(error is null or EnvelopeEncryptionException, $"Seed {seed}, round {round}: {error}\n{damaged}");
            if (error is null)
            {
                imported++;
                await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
            }
            else
            {
                refused++;
                Assert.Equal(0, await StoredCells.CountAsync(_database, "EnvelopeKeys"));
            }
        }

        Assert.True(refused > imported, $"{refused} refused, {imported} imported.");
        await using var last = Cold();
        var result = await new EnvelopeKeys(last).ImportAsync(new MemoryStream(Encoding.UTF8.GetBytes(text)));
        Assert.Equal(text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length - 2, result.Added + result.Unchanged);
        Assert.Equal("name", (await last.Customers.SingleAsync()).FullName);
    }

    /// <summary>What a process does with a ring that it sees for the first time.</summary>
    private (string Name, Func<Task> Use)[] Uses() =>
    [
        ("read", async () =>
        {
            await using var context = Cold();
            await context.Customers.AsNoTracking().ToListAsync();
        }),
        ("read rows with keys of their own", async () =>
        {
            await using var context = Cold();
            await context.Cards.AsNoTracking().ToListAsync();
        }),
        ("save", async () =>
        {
            await using var context = Cold();
            await using var transaction = await context.Database.BeginTransactionAsync();
            context.Add(new Customer { TenantId = TenantA, FullName = "more", Ssn = "s" });
            context.Add(new PaymentCard { TenantId = TenantA, Number = "more" });
            await context.SaveChangesAsync();
        }),
        ("list and export", async () =>
        {
            await using var context = Cold();
            await new EnvelopeKeys(context).ListAsync();
            await new EnvelopeKeys(context).ExportAsync(Stream.Null);
        }),
        ("rotate", async () =>
        {
            await using var context = Cold();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(TenantA));
        }),
    ];

    private async Task RestoreAsync()
    {
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        await _database.ExecuteAsync("INSERT INTO \"EnvelopeKeys\" SELECT * FROM \"KeysBefore\"");
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeRing\"");
        await _database.ExecuteAsync("INSERT INTO \"EnvelopeRing\" SELECT * FROM \"RingBefore\"");
    }

    private async Task<List<string>> IdsAsync()
    {
        await using var connection = _database.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = "SELECT CAST(\"Id\" AS TEXT) FROM \"EnvelopeKeys\" ORDER BY 1";
        await using var reader = await command.ExecuteReaderAsync();
        var ids = new List<string>();
        while (await reader.ReadAsync())
        {
            ids.Add(reader.GetString(0));
        }

        return ids;
    }

    private static IEnumerable<(string Table, string Column, Type Type)> Columns(Type row, string table)
        => row.GetProperties().Select(p => (table, p.Name, Nullable.GetUnderlyingType(p.PropertyType) ?? p.PropertyType));

    private string Value(Random random, Type type)
    {
        var kind = provider == "SQLite" ? random.Next(5) : random.Next(6) == 0 ? -1 : type == typeof(Guid) ? 5 : type == typeof(byte[]) ? 3 : type == typeof(string) ? 2 : 0;
        switch (kind)
        {
            case 0:
                long[] numbers = [0, 1, 2, 3, 4, 7, -1, int.MaxValue, int.MinValue, random.Next()];
                long[] wide = [long.MaxValue, long.MinValue, 1L << 40, DateTimeOffset.MaxValue.Ticks + 1, random.NextInt64()];
                var all = type == typeof(int) && provider != "SQLite" ? numbers : [.. numbers, .. wide];
                return all[random.Next(all.Length)].ToString(CultureInfo.InvariantCulture);
            case 1:
                return random.NextDouble().ToString("R", CultureInfo.InvariantCulture);
            case 2:
                string[] texts = ["", "global", "tenant:", "tenant:x", "row:", "row:@", "row:x@tenant:1", "subject:/", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "ä\u2028\uFFFD", new string('x', random.Next(5_000))];
                return $"'{texts[random.Next(texts.Length)]}'";
            case 3:
                var bytes = new byte[random.Next(4) switch { 0 => 0, 1 => 16, 2 => 32, _ => random.Next(400) }];
                random.NextBytes(bytes);
                return provider == "SQLite" ? $"x'{Convert.ToHexString(bytes)}'" : $"'\\x{Convert.ToHexString(bytes)}'::bytea";
            case 5:
                return $"'{(random.Next(3) == 0 ? Guid.Empty : Guid.NewGuid())}'";
            default:
                return "NULL";
        }
    }

    private BankContext Cold()
    {
        // A runtime of its own: its clock is part of its identity.
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider(DateTimeOffset.Parse("2026-01-01T00:00:00Z", CultureInfo.InvariantCulture));
        return new BankContext(_database.Options(e => e.UseTimeProvider(clock)));
    }
}

using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteTamperedRingTests() : TamperedRingTests("SQLite");

public sealed class PostgresTamperedRingTests() : TamperedRingTests("PostgreSQL");

/// <summary>Somebody writes to the ring's table who cannot call the key service (G12, G13).</summary>
public abstract partial class TamperedRingTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private TestDatabase _database = null!;

    private string ScopeA => $"tenant:{TenantA}";

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = TenantA, FullName = "a", Ssn = "s" });
        context.Add(new Customer { TenantId = TenantB, FullName = "b", Ssn = "s" });
        context.Add(new PaymentCard { TenantId = TenantA, Number = "card-a" });
        context.Add(new PaymentCard { TenantId = TenantA, Number = "card-b" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Wrapped_blobs_that_were_swapped_between_rows_are_refused_reading_and_writing()
    {
        await SwapAsync("Wrapped", $"\"Scope\" = '{ScopeA}' AND \"Purpose\" = 1", $"\"Scope\" = 'tenant:{TenantB}' AND \"Purpose\" = 1");
        await AssertRefusedAsync(ScopeA);
    }

    [Fact]
    public async Task Wrapped_row_keys_that_were_swapped_between_rows_are_refused()
    {
        await SwapAsync(
            "Wrapped",
            "\"KekId\" IS NOT NULL AND \"Id\" = (SELECT MIN(CAST(\"Id\" AS TEXT)) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL)".Replace("\"Id\" =", "CAST(\"Id\" AS TEXT) =", StringComparison.Ordinal),
            "\"KekId\" IS NOT NULL AND CAST(\"Id\" AS TEXT) = (SELECT MAX(CAST(\"Id\" AS TEXT)) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL)");
        await using var context = Cold();
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.Cards.AsNoTracking().ToListAsync());
        Assert.Equal(2, await Cold().Customers.CountAsync());
    }

    [Theory]
    [InlineData("\"State\" = 2")]
    [InlineData("\"Scope\" = 'tenant:other'")]
    [InlineData("\"Purpose\" = 3")]
    [InlineData("\"Version\" = 7")]
    [InlineData("\"CreatedAt\" = \"CreatedAt\" - 864000000000")]
    [InlineData("\"ActivatedAt\" = NULL")]
    [InlineData("\"StateChangedAt\" = \"StateChangedAt\" + 10")]
    [InlineData("\"Reason\" = 'because'")]
    [InlineData("\"RootKeyId\" = 'memory:other'")]
    [InlineData("\"KeyMaterialId\" = 'other'")]
    [InlineData("\"ChangedBy\" = 'nobody'")]
    [InlineData("\"CompromisedAt\" = 638000000000000000")]
    [InlineData("\"DestructionDueAt\" = 638000000000000000")]
    [InlineData("\"FormerState\" = 1")]
    [InlineData("\"Revision\" = \"Revision\" + 1")]
    public async Task Every_field_of_a_ring_row_is_authenticated(string change)
    {
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET {change} WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
        await using var context = Cold();
        await Assert.ThrowsAnyAsync<EnvelopeEncryptionException>(() => context.Customers.AsNoTracking().Where(c => c.TenantId == TenantA).ToListAsync());
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).ListAsync());
        Assert.Equal("b", (await Cold().Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantB)).FullName);
    }

    /// <summary>What makes a key of the key service's one of a kek's: the row is no key of its scope any more.</summary>
    [Fact]
    public async Task A_kek_that_was_written_into_a_ring_row_is_refused()
    {
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"KekId\" = \"Id\" WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
        await AssertRefusedAsync(ScopeA);
    }

    [Theory]
    [InlineData("\"State\" = 2")]
    [InlineData("\"Version\" = 7")]
    [InlineData("\"CreatedAt\" = \"CreatedAt\" - 864000000000")]
    [InlineData("\"ActivatedAt\" = NULL")]
    [InlineData("\"StateChangedAt\" = \"StateChangedAt\" + 10")]
    [InlineData("\"Reason\" = 'because'")]
    [InlineData("\"RootKeyId\" = 'memory:other'")]
    [InlineData("\"KeyMaterialId\" = 'other'")]
    [InlineData("\"ChangedBy\" = 'nobody'")]
    [InlineData("\"CompromisedAt\" = 638000000000000000")]
    [InlineData("\"DestructionDueAt\" = 638000000000000000")]
    [InlineData("\"FormerState\" = 1")]
    [InlineData("\"Revision\" = \"Revision\" + 1")]
    [InlineData("\"KekId\" = (SELECT k.\"Id\" FROM \"EnvelopeKeys\" k WHERE k.\"Purpose\" = 4)")]
    [InlineData("\"KekId\" = NULL")]
    [InlineData("\"Scope\" = 'row:00000000-0000-0000-0000-000000000001@global'")]
    [InlineData("\"Purpose\" = 2")]
    public async Task Every_field_of_a_row_keys_row_is_authenticated(string change)
    {
        var key = await KeyOfCardAsync(1);
        Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET {change} WHERE \"Id\" = {Literal(key)}"));
        await using var context = Cold();
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.Cards.AsNoTracking().Where(c => c.Id == 1).ToListAsync());
        Assert.StartsWith("card-", (await Cold().Cards.AsNoTracking().SingleAsync(c => c.Id == 2)).Number, StringComparison.Ordinal);
    }

    /// <summary>Another key's row under the id that a cell names: everything in it is genuine but the id.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_rows_id_is_authenticated(bool rowKey)
    {
        var (id, other) = rowKey ? (await KeyOfCardAsync(1), await KeyOfCardAsync(2)) : (await KeyOfCustomerAsync("tenant:" + TenantA), await KeyOfCustomerAsync("tenant:" + TenantB));
        await _database.ExecuteAsync($"DELETE FROM \"EnvelopeKeys\" WHERE \"Id\" = {Literal(id)}");
        Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"Id\" = {Literal(id)} WHERE \"Id\" = {Literal(other)}"));
        await using var context = Cold();
        Assert.Equal(id, (await Assert.ThrowsAsync<KeyRingTamperedException>(() => rowKey ? context.Cards.AsNoTracking().Where(c => c.Id == 1).ToListAsync() : (Task)context.Customers.AsNoTracking().Where(c => c.TenantId == TenantA).ToListAsync())).KeyId);
    }

    [Fact]
    public async Task A_compromised_key_that_is_flipped_back_to_active_by_sql_is_refused()
    {
        Guid key;
        await using (var context = Cold())
        {
            key = (await new EnvelopeKeys(context).ReportCompromisedAsync(EnvelopeScope.Tenant(TenantA), "test")).First(k => k.Scope == ScopeA && k.Purpose == KeyPurpose.Field).Id;
        }

        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"State\" = 1 WHERE \"Scope\" = '{ScopeA}' AND \"Version\" = 1 AND \"Purpose\" = 1");
        Assert.Equal(key, (await AssertRefusedAsync(ScopeA)).KeyId);
    }

    [Fact]
    public async Task A_running_process_drops_a_key_whose_row_it_sees_tampered_and_others_work_on()
    {
        var clock = new FakeTimeProvider();
        await using (var warm = Cold(clock))
        {
            Assert.Equal(2, (await warm.Customers.AsNoTracking().ToListAsync()).Count);
        }

        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"State\" = 1, \"ChangedEpoch\" = 99, \"Reason\" = 'x' WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"Epoch\" = 99");
        clock.Advance(TimeSpan.FromMinutes(2));
        await using var context = Cold(clock);
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.Customers.AsNoTracking().Where(c => c.TenantId == TenantA).ToListAsync());
        Assert.Equal("b", (await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantB)).FullName);
        context.Add(new Customer { TenantId = TenantB, FullName = "b2", Ssn = "s" });
        await context.SaveChangesAsync();
    }

    [Fact]
    public async Task A_former_genuine_row_that_is_put_back_is_refused_by_a_process_that_saw_the_newer_one()
    {
        await using var process = new RingProcess(_database, _database.KeyService);
        await using var operators = new RingProcess(_database, _database.KeyService);
        var key = await process.SealAsync("tenant:x");
        var former = (await process.Store.FindByIdAsync([key], default)).Single();
        await operators.CompromiseAsync(key);
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.NotEqual(key, await process.SealAsync("tenant:x"));
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x'");
        Assert.Equal(1, await operators.Store.TryInsertAsync([former], default));
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"ChangedEpoch\" = 99 WHERE \"Scope\" = 'tenant:x'");
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"Epoch\" = 99");
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal(key, (await Assert.ThrowsAsync<KeyRingTamperedException>(() => process.SealAsync("tenant:x"))).KeyId);
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => process.OpenAsync(key));
    }

    /// <summary>The row's epoch is written beside its HMAC: it says what is new, and is not believed when it says that nothing is.</summary>
    [Fact]
    public async Task A_compromise_that_is_hidden_from_running_processes_ends_their_sealing_all_the_same()
    {
        await using var process = new RingProcess(_database, _database.KeyService);
        await using var operators = new RingProcess(_database, _database.KeyService);
        var key = await process.SealAsync("tenant:x");
        await operators.CompromiseAsync(key);
        var successor = await operators.SealAsync("tenant:x");
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"ChangedEpoch\" = 0");
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal(successor, await process.SealAsync("tenant:x"));
        Assert.Equal(key, await process.OpenAsync(key));
    }

    [Fact]
    public async Task A_destruction_that_is_hidden_from_running_processes_ends_their_opening_all_the_same()
    {
        await using var process = new RingProcess(_database, _database.KeyService);
        await using var operators = new RingProcess(_database, _database.KeyService);
        var key = await process.SealAsync("tenant:x");
        await operators.RotateAsync("tenant:x");
        await operators.ChangeAsync(key, KeyState.Destroyed);
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"ChangedEpoch\" = 0");
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.NotEqual(key, await process.SealAsync("tenant:x"));
        Assert.Equal(key, (await Assert.ThrowsAsync<KeyDestroyedException>(() => process.OpenAsync(key))).KeyId);
    }

    [Fact]
    public async Task A_row_keys_compromise_that_is_hidden_ends_its_sealing_all_the_same()
    {
        var clock = new FakeTimeProvider();
        await using var process = Cold(clock);
        var card = await process.Cards.FirstAsync();
        card.Number = "one";
        await process.SaveChangesAsync();
        await using var operators = Cold();
        var keys = new EnvelopeKeys(operators);
        await keys.ReportCompromisedAsync(EnvelopeScope.Tenant(TenantA), "test");
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"ChangedEpoch\" = 0");
        clock.Advance(TimeSpan.FromMinutes(2));
        card.Number = "two";
        await process.SaveChangesAsync();
        var used = (await keys.TakeCensusAsync()).Entries.Where(e => e is { Table: "Cards", Column: "Number" } && e.State == KeyState.Active).Sum(e => e.Cells);
        Assert.Equal(1L, used);
    }

    /// <summary>What docs/threat-model.md says remains.</summary>
    [Fact]
    public async Task An_epoch_that_is_written_back_to_what_a_process_saw_last_hides_a_compromise_from_it()
    {
        await using var process = new RingProcess(_database, _database.KeyService);
        await using var operators = new RingProcess(_database, _database.KeyService);
        var key = await process.SealAsync("tenant:x");
        var seen = await _database.ScalarAsync("SELECT \"Epoch\" FROM \"EnvelopeRing\"");
        await operators.CompromiseAsync(key);
        await _database.ExecuteAsync($"UPDATE \"EnvelopeRing\" SET \"Epoch\" = {seen}");
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal(key, await process.SealAsync("tenant:x"));
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"Epoch\" = 99");
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.NotEqual(key, await process.SealAsync("tenant:x"));
    }

    /// <summary>What docs/threat-model.md says remains.</summary>
    [Fact]
    public async Task Deleted_rows_of_the_table_of_columns_are_written_again_when_the_epoch_rises()
    {
        var clock = new FakeTimeProvider();
        await using var process = Cold(clock);
        process.Add(new Customer { TenantId = TenantA, FullName = "a2", Ssn = "s" });
        await process.SaveChangesAsync();
        var columns = await CountAsync("EnvelopeColumns");
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeColumns\"");
        await using (var operators = Cold())
        {
            await new EnvelopeKeys(operators).RotateAsync(EnvelopeScope.Tenant(TenantA));
        }

        clock.Advance(TimeSpan.FromMinutes(2));
        process.Add(new Customer { TenantId = TenantA, FullName = "a3", Ssn = "s" });
        await process.SaveChangesAsync();
        Assert.Equal(columns, await CountAsync("EnvelopeColumns"));
    }

    [Fact]
    public async Task A_ring_row_that_was_deleted_ends_the_keys_use_when_the_ring_changed()
    {
        await using var process = new RingProcess(_database, _database.KeyService);
        await using var operators = new RingProcess(_database, _database.KeyService);
        var key = await process.SealAsync("tenant:x");
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x'");
        await operators.SealAsync("tenant:y");
        await operators.RotateAsync("tenant:y");
        process.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.NotEqual(key, await process.SealAsync("tenant:x"));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => process.OpenAsync(key));
    }

    private BankContext Cold(FakeTimeProvider? clock = null)
    {
        clock ??= new FakeTimeProvider();
        return new BankContext(_database.Options(e => e.UseTimeProvider(clock)));
    }

    private async Task<EnvelopeEncryptionException> AssertRefusedAsync(string scope)
    {
        var tenant = TenantA;
        var customers = await CountAsync("Customers");
        await using (var reader = Cold())
        {
            await Assert.ThrowsAsync<KeyRingTamperedException>(() => reader.Customers.AsNoTracking().Where(c => c.TenantId == tenant).ToListAsync());
        }

        await using var writer = Cold();
        writer.Add(new Customer { TenantId = TenantA, FullName = "new", Ssn = "s" });
        var error = await Assert.ThrowsAsync<KeyRingTamperedException>(() => writer.SaveChangesAsync());
        Assert.Equal(customers, await CountAsync("Customers"));
        Assert.DoesNotContain(scope, error.Message, StringComparison.Ordinal);
        return error;
    }

    private async Task<Guid> KeyOfCardAsync(int id)
    {
        Assert.True(EfEnvelope.Envelopes.EnvelopeCodec.TryReadKeyId((byte[])(await _database.ScalarAsync($"SELECT \"Number\" FROM \"Cards\" WHERE \"Id\" = {id}"))!, out var key));
        return key;
    }

    private async Task<Guid> KeyOfCustomerAsync(string scope)
    {
        await using var context = Cold();
        return (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == scope && k.Purpose == KeyPurpose.Field).Id;
    }

    private string Literal(Guid id) => provider == "SQLite" ? $"'{id.ToString().ToUpperInvariant()}'" : $"'{id}'";

    private async Task<long> CountAsync(string table) => Convert.ToInt64(await _database.ScalarAsync($"SELECT COUNT(*) FROM \"{table}\""));

    private async Task SwapAsync(string column, string first, string second)
    {
        async Task<string> Literal(string where)
        {
            var hex = Convert.ToHexString((byte[])(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"EnvelopeKeys\" WHERE {where}"))!);
            return provider == "SQLite" ? $"x'{hex}'" : $"'\\x{hex}'";
        }

        var (one, other) = (await Literal(first), await Literal(second));
        Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"{column}\" = {other} WHERE {first}"));
        Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"{column}\" = {one} WHERE {second}"));
    }
}

using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

/// <summary>Rows that are damaged, missing or foreign.</summary>
public abstract partial class TamperedRingTests
{
    [Theory]
    [InlineData("x'0102'", "'\\x0102'")]
    [InlineData("x''", "'\\x'")]
    public async Task A_truncated_wrapped_key_or_mac_is_refused(string sqlite, string postgres)
    {
        var value = provider == "SQLite" ? sqlite : postgres;
        foreach (var column in new[] { "Wrapped", "Mac" })
        {
            var saved = await _database.ScalarAsync($"SELECT \"{column}\" FROM \"EnvelopeKeys\" WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
            await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"{column}\" = {value} WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
            await AssertRefusedAsync(ScopeA);
            var hex = Convert.ToHexString((byte[])saved!);
            await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"{column}\" = {(provider == "SQLite" ? $"x'{hex}'" : $"'\\x{hex}'")} WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
        }

        Assert.Equal(2, (await Cold().Customers.AsNoTracking().ToListAsync()).Count);
    }

    [Theory]
    [InlineData("UPDATE \"EnvelopeKeys\" SET \"Reason\" = 'x' WHERE \"Purpose\" = 2")]
    [InlineData("DELETE FROM \"EnvelopeKeys\" WHERE \"Purpose\" = 2")]
    public async Task Row_keys_go_with_a_kek_whose_row_a_running_process_sees_changed_or_gone(string sql)
    {
        var clock = new FakeTimeProvider();
        await using var context = Cold(clock);
        var card = await context.Cards.OrderBy(c => c.Id).FirstAsync();
        card.Number = "one";
        await context.SaveChangesAsync();
        Assert.Equal(1, await _database.ExecuteAsync(sql));
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"Epoch\" = \"Epoch\" + 1");
        clock.Advance(TimeSpan.FromMinutes(2));
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.Cards.AsNoTracking().ToListAsync());
        card.Number = "two";
        await Assert.ThrowsAnyAsync<EnvelopeEncryptionException>(() => context.SaveChangesAsync());
    }

    /// <summary>The salt stands in the context of every wrapped key: one that is made under a forged salt opens nowhere once it is put back.</summary>
    [Fact]
    public async Task A_changed_salt_is_refused_and_an_import_brings_it_back()
    {
        var clock = new FakeTimeProvider();
        await using var warm = Cold(clock);
        using var document = new MemoryStream();
        await new EnvelopeKeys(warm).ExportAsync(document);
        var keys = await CountAsync("EnvelopeKeys");
        await _database.ExecuteAsync($"UPDATE \"EnvelopeRing\" SET \"Salt\" = {(provider == "SQLite" ? "x'000102030405060708090a0b0c0d0e0f'" : "'\\x000102030405060708090a0b0c0d0e0f'")}");
        clock.Advance(TimeSpan.FromMinutes(2));
        warm.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "new", Ssn = "s" });
        Assert.Contains("salt", (await Assert.ThrowsAsync<KeyRingTamperedException>(() => warm.SaveChangesAsync())).Message, StringComparison.Ordinal);
        await using (var cold = new BankContext(_database.Options(e => e.UseTimeProvider(new FakeTimeProvider()))))
        {
            EfEnvelope.Storage.EnvelopeSession.Of(cold).Ring.Invalidate();
            Assert.Contains("salt", (await Assert.ThrowsAsync<KeyRingTamperedException>(() => cold.Customers.AsNoTracking().ToListAsync())).Message, StringComparison.Ordinal);
            Assert.Equal(keys, await CountAsync("EnvelopeKeys"));
            document.Position = 0;
            await new EnvelopeKeys(cold).ImportAsync(document);
            Assert.Equal(2, (await cold.Customers.AsNoTracking().ToListAsync()).Count);
        }

        await warm.SaveChangesAsync();
    }

    [Fact]
    public async Task Times_out_of_range_are_refused()
    {
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"CreatedAt\" = {long.MaxValue} WHERE \"Scope\" = '{ScopeA}' AND \"Purpose\" = 1");
        await AssertRefusedAsync(ScopeA);
    }

    [Fact]
    public async Task A_missing_or_damaged_mac_key_is_refused_and_never_made_anew()
    {
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"State\" = 2 WHERE \"Purpose\" = 4");
        await AssertRefusedAsync(ScopeA);
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Purpose\" = 4");
        await AssertRefusedAsync(ScopeA);
        Assert.Equal(0L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"Purpose\" = 4")));
    }

    [Fact]
    public async Task A_foreign_ring_row_is_refused()
    {
        await using var other = await TestDatabase.CreateAsync(provider);
        other.KeyService = _database.KeyService;
        await using (var context = new BankContext(other.Options()))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Customer { TenantId = TenantA, FullName = "other", Ssn = "s" });
            await context.SaveChangesAsync();
        }

        // The other ring's UUID and salt: every wrapped key was made with another encryption context.
        await using var process = new RingProcess(_database, _database.KeyService);
        await using var otherProcess = new RingProcess(other, other.KeyService);
        var identity = await otherProcess.Store.GetIdentityAsync(default);
        await _database.ExecuteAsync(
            provider == "SQLite"
                ? $"UPDATE \"EnvelopeRing\" SET \"RingId\" = '{identity.Id.ToString().ToUpperInvariant()}'"
                : $"UPDATE \"EnvelopeRing\" SET \"RingId\" = '{identity.Id}'");
        await AssertRefusedAsync(ScopeA);
    }

    [Fact]
    public async Task A_ring_that_belongs_to_another_root_key_is_refused_and_nothing_is_written()
    {
        var other = new InMemoryKeyManagementService();
        await using var context = new BankContext(_database.Options(e => e.UseKeyManagementService(other)));
        var reading = await Assert.ThrowsAsync<KeyRefusedException>(() => context.Customers.AsNoTracking().ToListAsync());
        Assert.Contains("belongs to another root key", reading.Message, StringComparison.Ordinal);
        context.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "new", Ssn = "s" });
        var keys = await CountAsync("EnvelopeKeys");
        await Assert.ThrowsAsync<KeyRefusedException>(() => context.SaveChangesAsync());
        Assert.Equal((2L, keys), (await CountAsync("Customers"), await CountAsync("EnvelopeKeys")));
    }
}

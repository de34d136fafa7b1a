using EfEnvelope.Keys;
using EfEnvelope.Tests.Diagnostics;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteWrongAnswerTests() : WrongAnswerTests("SQLite");

public sealed class PostgresWrongAnswerTests() : WrongAnswerTests("PostgreSQL");

/// <summary>A key service that answers with other bytes than the key: its id is derived again from what came back (G12), and the difference is refused and audited, before anything is done with it.</summary>
public abstract class WrongAnswerTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private readonly ScriptedKeyService _kms = new();
    private readonly RecordingLogs _logs = new();
    private TestDatabase _database = null!;

    public static TheoryData<int> Lengths => [32, 31, 33, 0];

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = _kms;
        await using var context = New(new FakeTimeProvider());
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = Tenant, FullName = "n", Ssn = "s" });
        context.Add(new PaymentCard { TenantId = Tenant, Number = "c" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [MemberData(nameof(Lengths))]
    public async Task A_cold_reader_refuses_it(int length)
    {
        AnswerWith("field", length);
        await using var context = New(new FakeTimeProvider());
        await AssertRefusedAsync("field", () => context.Customers.AsNoTracking().ToListAsync());
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public async Task A_cold_writer_refuses_it_and_stores_nothing(int length)
    {
        AnswerWith("field", length);
        await using var context = New(new FakeTimeProvider());
        context.Add(new Customer { TenantId = Tenant, FullName = "more", Ssn = "s" });
        await AssertRefusedAsync("field", () => context.SaveChangesAsync());
        Assert.Equal(1L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\"")));
    }

    [Fact]
    public async Task A_kek_that_it_answers_for_opens_no_row_key()
    {
        AnswerWith("kek", 32);
        await using var context = New(new FakeTimeProvider());
        await AssertRefusedAsync("kek", () => context.Cards.AsNoTracking().ToListAsync());
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public async Task A_warm_process_refuses_it_at_the_revalidation(int length)
    {
        var clock = new FakeTimeProvider();
        await using var context = New(clock);
        Assert.Single(await context.Customers.AsNoTracking().ToListAsync());
        AnswerWith("field", length);
        Assert.Single(await context.Customers.AsNoTracking().ToListAsync());
        clock.Advance(new KeyRingOptions().KeyRevalidationInterval + TimeSpan.FromSeconds(1));
        await AssertRefusedAsync("field", () => context.Customers.AsNoTracking().ToListAsync());
        context.Add(new Customer { TenantId = Tenant, FullName = "more", Ssn = "s" });
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.SaveChangesAsync());
        Assert.Equal(1L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\"")));
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public async Task The_rings_own_mac_key_is_held_to_its_id_too(int length)
    {
        AnswerWith("mac", length);
        await using var context = New(new FakeTimeProvider());
        await AssertRefusedAsync("mac", () => context.Customers.AsNoTracking().ToListAsync());
    }

    [Fact]
    public async Task A_changed_row_of_the_mac_key_is_audited()
    {
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"CreatedAt\" = \"CreatedAt\" - 10 WHERE \"Purpose\" = 4");
        await using var context = New(new FakeTimeProvider());
        var error = await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.Customers.AsNoTracking().ToListAsync());
        Assert.Contains(_logs.Of(EnvelopeEventId.RingTampered), e => e.Message.Contains(error.KeyId.ToString()!, StringComparison.Ordinal));
    }

    private void AnswerWith(string purpose, int length) => _kms.Answer = (asked, key) => asked == purpose ? [.. key.Select(b => (byte)~b).Concat(key).Take(length)] : key;

    private async Task AssertRefusedAsync(string purpose, Func<Task> use)
    {
        var error = await Assert.ThrowsAsync<KeyRingTamperedException>(use);
        Assert.Contains("unwraps to another key than its id commits to", error.Message, StringComparison.Ordinal);
        Assert.NotNull(error.KeyId);

        // The row that the service was asked for, which a row key's reader knows as its kek.
        var number = purpose switch { "field" => 1, "kek" => 2, _ => 4 };
        var asked = (string)(await _database.ScalarAsync($"SELECT LOWER(CAST(\"Id\" AS TEXT)) FROM \"EnvelopeKeys\" WHERE \"Purpose\" = {number} AND \"Scope\" = '{(purpose == "mac" ? "global" : $"tenant:{Tenant}")}'"))!;
        Assert.Contains(asked, error.Message, StringComparison.Ordinal);
        Assert.Contains(_logs.Of(EnvelopeEventId.RingTampered), e => e.Level == LogLevel.Error && e.Message.Contains(asked, StringComparison.Ordinal));
    }

    private BankContext New(FakeTimeProvider clock) => new(_database.Options(e => e.UseTimeProvider(clock), o => o.UseLoggerFactory(_logs)));
}

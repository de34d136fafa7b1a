using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Diagnostics;

public sealed class SqliteAuditTests() : AuditTests("SQLite")
{
    [Theory]
    [InlineData("FullName", "CAST('canary-planted' AS BLOB)")]
    [InlineData("FullName", "'canary-planted'")]
    [InlineData("FullName", "7")]
    [InlineData("FullName", "x''")]
    [InlineData("Note", "'canary-planted'")]
    [InlineData("Note", "1.5")]
    [InlineData("Note", "x'00'")]
    [InlineData("Profile", "'{\"Theme\":\"t\",\"Secret\":\"canary-planted\"}'")]
    public Task Planted_plaintext_is_refused_and_audited_in_entities_and_projections(string column, string value) => AssertRefusedAndAuditedAsync(column, value);
}

public sealed class PostgresAuditTests() : AuditTests("PostgreSQL")
{
    [Theory]
    [InlineData("FullName", "convert_to('canary-planted', 'UTF8')")]
    [InlineData("FullName", "''")]
    [InlineData("Note", "'canary-planted'")]
    [InlineData("Profile", "'{\"Theme\":\"t\",\"Secret\":\"canary-planted\"}'")]
    public Task Planted_plaintext_is_refused_and_audited_in_entities_and_projections(string column, string value) => AssertRefusedAndAuditedAsync(column, value);
}

/// <summary>The audit events: each with its stable id, none with a value (G41).</summary>
public abstract class AuditTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("cccccccc-0000-0000-0000-00000000ca4a");

    private readonly RecordingLogs _logs = new();
    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = _kms;
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = Tenant, FullName = "canary-name", Ssn = "canary-ssn", Note = "canary-note" });
        context.Add(new PaymentCard { TenantId = Tenant, Number = "canary-card" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync()
    {
        // Whatever a test did: no event holds a value or says whose row it was.
        Assert.NotEmpty(_logs.Own);
        Assert.All(_logs.Own, e =>
        {
            Assert.DoesNotContain("canary", e.Message, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(Tenant.ToString(), e.Message, StringComparison.OrdinalIgnoreCase);
        });
        await _database.DisposeAsync();
    }

    [Fact]
    public void Ids_and_names_are_stable()
    {
        var ids = typeof(EnvelopeEventId).GetProperties().Select(p => (EventId)p.GetValue(null)!).Select(e => $"{e.Id} {e.Name}").Order(StringComparer.Ordinal);
        Assert.Equal(
            [
                "45100 KeyCreated", "45101 KeyRotated", "45102 KeyCompromised", "45103 KeyRevoked", "45104 KeyErased", "45105 KeyRewrapped", "45106 RingExported", "45107 RingImported",
                "45108 RingReplaced", "45109 KeyDestructionScheduled", "45110 KeyDestructionCancelled", "45111 QuarantineReleased", "45112 DatabaseForgotten", "45113 ColumnForgotten", "45200 RingTampered", "45201 KeyRefused", "45202 ValueRefused", "45203 PlaintextRefused", "45204 KeyServiceUnavailable",
            ],
            ids);
    }

    [Fact]
    public async Task The_life_of_a_key_is_audited()
    {
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        var old = (await keys.ListAsync()).Single(k => k.Scope == $"tenant:{Tenant}" && k.Purpose == KeyPurpose.Field);
        Assert.Contains(_logs.Of(EnvelopeEventId.KeyCreated), e => e.Message.Contains(old.Id.ToString(), StringComparison.Ordinal));
        await keys.RotateAsync(EnvelopeScope.Tenant(Tenant));
        Assert.NotEmpty(_logs.Of(EnvelopeEventId.KeyRotated));
        await keys.ReportCompromisedAsync(old.Id, "canary-reason");
        Assert.Contains(old.Id.ToString(), Assert.Single(_logs.Of(EnvelopeEventId.KeyCompromised)).Message, StringComparison.Ordinal);
        Assert.True(await keys.RewrapAsync() > 0);
        Assert.NotEmpty(_logs.Of(EnvelopeEventId.KeyRewrapped));
        await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
        _database.Time.Advance(TimeSpan.FromMinutes(22));
        await keys.RevokeAsync(old.Id);
        Assert.Single(_logs.Of(EnvelopeEventId.KeyRevoked));
        _database.Time.Advance(TimeSpan.FromMinutes(22));
        await keys.DestroyAsync(old.Id);
        Assert.Contains(old.Id.ToString(), Assert.Single(_logs.Of(EnvelopeEventId.KeyDestructionScheduled)).Message, StringComparison.Ordinal);
        await keys.CancelDestructionAsync(old.Id);
        Assert.Contains(old.Id.ToString(), Assert.Single(_logs.Of(EnvelopeEventId.KeyDestructionCancelled)).Message, StringComparison.Ordinal);
        _database.Time.Advance(TimeSpan.FromMinutes(22));
        await keys.DestroyAsync(old.Id);
        _database.Time.Advance(TimeSpan.FromDays(31));
        await keys.DestroyDueAsync();
        Assert.Contains(old.Id.ToString(), Assert.Single(_logs.Of(EnvelopeEventId.KeyErased)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tampering_with_the_ring_is_audited()
    {
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"CreatedAt\" = 1 WHERE \"Scope\" = 'tenant:{Tenant}' AND \"Purpose\" = 1");
        await using var cold = New(new FakeTimeProvider());
        var error = await Assert.ThrowsAsync<KeyRingTamperedException>(() => cold.Customers.AsNoTracking().ToListAsync());
        Assert.Contains(_logs.Of(EnvelopeEventId.RingTampered), e => e.Level == LogLevel.Error && e.Message.Contains(error.KeyId.ToString()!, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_refusal_and_an_outage_of_the_key_service_are_audited()
    {
        _kms.Failure = () => new KeyRefusedException("no");
        await using var refused = New(new FakeTimeProvider());
        await Assert.ThrowsAsync<KeyRefusedException>(() => refused.Customers.AsNoTracking().ToListAsync());
        Assert.NotEmpty(_logs.Of(EnvelopeEventId.KeyRefused));
        _kms.Failure = () => new KeyUnavailableException("no");
        await using var unavailable = New(new FakeTimeProvider());
        await Assert.ThrowsAsync<KeyUnavailableException>(() => unavailable.Customers.AsNoTracking().ToListAsync());
        Assert.NotEmpty(_logs.Of(EnvelopeEventId.KeyServiceUnavailable));
    }

    [Fact]
    public async Task What_is_done_to_the_whole_ring_is_audited_and_counted()
    {
        using var counted = new CountedEvents();
        using var document = new MemoryStream();
        Guid ring;
        await using (var process = new RingProcess(_database, _kms))
        {
            ring = (await process.Store.GetIdentityAsync(default)).Id;
        }

        await using var context = New();
        var keys = new EnvelopeKeys(context);
        await keys.ExportAsync(document);
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        document.Position = 0;
        await using (var cold = New(new FakeTimeProvider()))
        {
            await new EnvelopeKeys(cold).ImportAsync(document);
        }

        // A restore: the ring's epoch is one that this process has seen pass.
        await keys.RotateAsync(EnvelopeScope.Tenant(Tenant));
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"Epoch\" = 0");
        _database.Time.Advance(TimeSpan.FromMinutes(22));
        context.Add(new Customer { TenantId = Tenant, FullName = "canary-name", Ssn = "canary-ssn" });
        await context.SaveChangesAsync();
        foreach (var id in new[] { EnvelopeEventId.RingExported, EnvelopeEventId.RingImported, EnvelopeEventId.RingReplaced })
        {
            Assert.Contains(_logs.Of(id), e => e.Level == LogLevel.Warning && e.Message.Contains(ring.ToString(), StringComparison.Ordinal));
            Assert.Contains(id.Name!, counted.Names);
        }
    }

    [Fact]
    public async Task What_is_taken_off_a_list_is_audited_and_counted()
    {
        using var counted = new CountedEvents();
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(EnvelopeScope.Tenant(Tenant));
        await _database.ExecuteAsync(provider == "SQLite"
            ? "UPDATE \"Customers\" SET \"FullName\" = CAST(substr(\"FullName\", 1, length(\"FullName\") - 1) AS BLOB)"
            : "UPDATE \"Customers\" SET \"FullName\" = substr(\"FullName\", 1, length(\"FullName\") - 1)");
        await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
        var cell = Assert.Single(await keys.ListQuarantineAsync());
        await keys.ReleaseQuarantineAsync([cell.Id], "canary-reason");
        var released = Assert.Single(_logs.Of(EnvelopeEventId.QuarantineReleased));
        Assert.Contains(cell.KeyId.ToString()!, released.Message, StringComparison.Ordinal);
        Assert.Contains("FullName", released.Message, StringComparison.Ordinal);

        await _database.ExecuteAsync("UPDATE \"EnvelopeColumns\" SET \"TableName\" = 'Gone', \"ColumnId\" = 'Gone.Number' WHERE \"TableName\" LIKE '%Cards' AND \"ColumnName\" = 'Number'");
        var missing = Assert.Single((await keys.TakeCensusAsync()).MissingColumns);
        await keys.ForgetColumnAsync(missing.Table, missing.Column);
        Assert.Contains("Gone.Number", Assert.Single(_logs.Of(EnvelopeEventId.ColumnForgotten)).Message, StringComparison.Ordinal);

        await using (var other = await TestDatabase.CreateAsync(provider))
        {
            other.KeyService = _kms;
            await using var second = new BankContext(other.Options(e => e.UseTimeProvider(_database.Time).UseKeyRing(_database.Connect), o => o.UseLoggerFactory(_logs)));
            await second.Database.EnsureCreatedAsync();
            second.Add(new Customer { TenantId = Tenant, FullName = "canary-name", Ssn = "canary-ssn" });
            await second.SaveChangesAsync();
        }

        var listed = Assert.Single(await keys.ListDatabasesAsync(), d => !d.IsOwn);
        await keys.ForgetDatabaseAsync(listed.Name);
        Assert.Contains(listed.Name, Assert.Single(_logs.Of(EnvelopeEventId.DatabaseForgotten)).Message, StringComparison.Ordinal);
        Assert.Superset(new HashSet<string> { nameof(EnvelopeEventId.QuarantineReleased), nameof(EnvelopeEventId.ColumnForgotten), nameof(EnvelopeEventId.DatabaseForgotten) }, counted.Names);
    }

    protected async Task AssertRefusedAndAuditedAsync(string column, string value)
    {
        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"{column}\" = {value}");
        await using var context = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Customers.AsNoTracking().ToListAsync());
        Assert.Contains("Customer." + column, Assert.Single(_logs.Of(EnvelopeEventId.PlaintextRefused)).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => column switch
        {
            "FullName" => context.Customers.Select(c => c.FullName).ToListAsync(),
            "Note" => (Task)context.Customers.Select(c => c.Note).ToListAsync(),
            _ => context.Customers.Select(c => c.Profile!.Secret).ToListAsync(),
        });
        Assert.Equal(2, _logs.Of(EnvelopeEventId.PlaintextRefused).Count);
    }

    [Fact]
    public async Task A_forged_and_a_moved_value_are_refused_and_audited()
    {
        await _database.ExecuteAsync("UPDATE \"Customers\" SET \"FullName\" = \"Ssn\"");
        await using (var context = New())
        {
            await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Customers.AsNoTracking().ToListAsync());
        }

        var forged = Assert.Single(_logs.Of(EnvelopeEventId.ValueRefused));
        Assert.Contains("Customer.FullName", forged.Message, StringComparison.Ordinal);
        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"TenantId\" = '{Guid.NewGuid().ToString().ToUpperInvariant()}'");
        await using var other = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => other.Customers.AsNoTracking().ToListAsync());
        Assert.Equal(2, _logs.Of(EnvelopeEventId.ValueRefused).Count);
    }

    [Fact]
    public async Task Calls_of_the_key_service_are_traced_and_measured()
    {
        var activities = new ConcurrentQueue<Activity>();
        using var tracing = new ActivityListener { ShouldListenTo = s => s.Name == "EfEnvelope", Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData, ActivityStopped = activities.Enqueue };
        ActivitySource.AddActivityListener(tracing);
        var measured = new ConcurrentQueue<(string Instrument, string Tags)>();
        using var metering = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "EfEnvelope")
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        metering.SetMeasurementEventCallback<long>((i, _, tags, _) => measured.Enqueue((i.Name, Text(tags))));
        metering.SetMeasurementEventCallback<double>((i, _, tags, _) => measured.Enqueue((i.Name, Text(tags))));
        metering.Start();
        await using (var cold = New(new FakeTimeProvider()))
        {
            Assert.Single(await cold.Customers.AsNoTracking().ToListAsync());
        }

        Assert.Contains(activities, a => a.OperationName == "efenvelope.kms.unwrap" && Equals(a.GetTagItem("efenvelope.outcome"), "ok") && Equals(a.GetTagItem("efenvelope.provider"), "memory"));
        Assert.Contains(measured, m => m is ("efenvelope.kms.duration", "operation=unwrap,provider=memory,outcome=ok"));
        Assert.Contains(measured, m => m.Instrument == "efenvelope.keys.held");
        Assert.Contains(measured, m => m is ("efenvelope.ring.confirmations", "outcome=ok"));

        static string Text(ReadOnlySpan<KeyValuePair<string, object?>> tags) => string.Join(',', tags.ToArray().Select(t => $"{t.Key}={t.Value}"));
    }

    private BankContext New(TimeProvider? clock = null)
        => new(_database.Options(e => e.UseTimeProvider(clock ?? _database.Time), o => o.UseLoggerFactory(_logs)));

    /// <summary>The audit events that the meter counts, of the whole process, while it listens.</summary>
    private sealed class CountedEvents : IDisposable
    {
        private readonly ConcurrentDictionary<string, byte> _names = new(StringComparer.Ordinal);
        private readonly MeterListener _listener = new()
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument is { Meter.Name: "EfEnvelope", Name: "efenvelope.audit.events" })
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };

        public CountedEvents()
        {
            _listener.SetMeasurementEventCallback<long>((_, count, tags, _) =>
            {
                foreach (var tag in tags)
                {
                    if (count == 1 && tag.Value is string name)
                    {
                        _names.TryAdd(name, 0);
                    }
                }
            });
            _listener.Start();
        }

        public ISet<string> Names => _names.Keys.ToHashSet(StringComparer.Ordinal);

        public void Dispose() => _listener.Dispose();
    }
}

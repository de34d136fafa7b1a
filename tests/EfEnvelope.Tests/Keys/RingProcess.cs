using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

/// <summary>What one process has of a ring: its cache, its clock, its way to the database and to the key service. Several stand for several processes.</summary>
internal sealed class RingProcess : IAsyncDisposable
{
    private readonly BankContext _context;

    public RingProcess(TestDatabase database, IKeyManagementService kms, KeyRingOptions? options = null, TimeProvider? clock = null, string? connectionString = null, Func<BankContext, IKeyRingStore>? wrap = null)
    {
        Time = new FakeTimeProvider(DateTimeOffset.Parse("2026-01-01T00:00:00Z"));
        Kms = kms as ScriptedKeyService ?? new ScriptedKeyService(kms);
        _context = new BankContext(database.Options(connectionString: connectionString));
        Store = new WatchedStore(wrap is null ? RingStoreFactory.For(_context, null) : wrap(_context));
        Ring = new KeyRing(Kms, options ?? new KeyRingOptions(), new Dictionary<string, string>(), clock ?? Time);
    }

    public FakeTimeProvider Time { get; }

    public ScriptedKeyService Kms { get; }

    public WatchedStore Store { get; }

    public KeyRing Ring { get; }

    public TransientKeys Transient { get; } = new();

    /// <summary>Makes the tables.</summary>
    public async Task<RingProcess> CreateAsync()
    {
        await _context.Database.EnsureCreatedAsync();
        return this;
    }

    /// <summary>The id of the key that a save would seal with.</summary>
    public async Task<Guid> SealAsync(string scope = KeyScope.Global)
    {
        using var pins = new KeyPins();
        return (await Ring.GetForSealingAsync(scope, Store, Transient, pins, default)).Id;
    }

    /// <summary>Opens with a key as a reader does; throws what the reader would.</summary>
    public async Task<Guid> OpenAsync(Guid id, CancellationToken cancellationToken = default)
    {
        using var pins = new KeyPins();
        if (Ring.TryGetForOpening(id, pins, out var key))
        {
            return key.Id;
        }

        await Ring.LoadForOpeningAsync([id], Store, Transient, pins, cancellationToken);
        return pins.TryGet(id, out var loaded) ? loaded.Id : Ring.GetForOpening(id, Transient).Id;
    }

    public Task<KeyRingEntry> RotateAsync(string scope = KeyScope.Global) => Ring.RotateAsync(scope, KeyPurpose.Field, "test", Store, default);

    public Task<IReadOnlyList<KeyRingEntry>> CompromiseAsync(Guid id) => Ring.CompromiseAsync(id, "test", Store, default);

    public Task<KeyRingEntry> ChangeAsync(Guid id, KeyState state) => Ring.ChangeStateAsync(id, state, "test", Store, default);

    public async ValueTask DisposeAsync()
    {
        Transient.Dispose();
        Ring.Invalidate();
        await _context.DisposeAsync();
    }
}

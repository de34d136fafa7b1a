using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>
/// A key of the ring, unwrapped, with what the ring says of it. Thread safe. Who works with it pins it (<see cref="KeyPins"/>): a pinned key is neither evicted nor zeroed
/// before its last pin is gone. A row key keeps its kek pinned.
/// </summary>
internal sealed class RingKey
{
    private const int Dead = -1;

    private readonly DataKey _key;
    private readonly RingKey? _kek;

    private volatile KeyRingEntry _entry;
    private volatile EnvelopeEncryptionException? _refusal;
    private byte[]? _scopeBytes;
    private long _validatedAt;
    private long _askAgainAt;
    private int _pins;
    private int _dropped;

    public RingKey(KeyRingEntry entry, DataKey key, RingKey? kek, long validatedAt)
    {
        _entry = entry;
        _key = key;
        _validatedAt = validatedAt;
        Scope = entry.Scope;
        Kind = KeyScope.KindOf(entry.Scope);
        if (kek is null)
        {
            return;
        }

        if (!kek.TryPin())
        {
            key.Dispose();
            throw new KeyUnavailableException("The key ring is being opened anew. Retry.") { KeyId = kek.Id };
        }

        _kek = kek;
    }

    public Guid Id => _key.Id;

    public string Scope { get; }

    public ScopeKind Kind { get; }

    /// <summary>The ring's row as this process saw it last.</summary>
    public KeyRingEntry Entry
    {
        get => _entry;
        set => _entry = value;
    }

    public KeyState State => _entry.State;

    public DataKey Key => _key;

    /// <summary>The kek that wraps it, for row keys.</summary>
    public RingKey? Kek => _kek;

    /// <summary>When the key service last confirmed it (monotonic time stamp): a row key's kek speaks for it.</summary>
    public long ValidatedAt
    {
        get => _kek?.ValidatedAt ?? Volatile.Read(ref _validatedAt);
        set => Volatile.Write(ref _validatedAt, value);
    }

    /// <summary>The key service's refusal at the last revalidation; thrown at every use until it confirms again.</summary>
    public EnvelopeEncryptionException? Refusal
    {
        get => _refusal;
        set => _refusal = value;
    }

    /// <summary>Before this monotonic time stamp the key service is not asked about the key again: it refused, or was out of reach, a moment ago.</summary>
    public long AskAgainAt
    {
        get => Volatile.Read(ref _askAgainAt);
        set => Volatile.Write(ref _askAgainAt, value);
    }

    /// <summary>Coarse time of the last use, for eviction.</summary>
    public long LastUsed { get; set; } = Environment.TickCount64;

    /// <summary>False once it, or the kek that speaks for it, was let go, also while somebody still works with it.</summary>
    public bool IsAlive => Volatile.Read(ref _pins) >= 0 && Volatile.Read(ref _dropped) == 0 && _kek is not { IsAlive: false };

    /// <summary>Whether cells that were buffered in the open transaction find it in the registry: until its last pin is gone, as its readers open them after they are closed.</summary>
    public bool IsTransient { get; set; }

    public bool IsPinned => Volatile.Read(ref _pins) > 0;

    /// <summary>The binding of a value of a column that is sealed with this key.</summary>
    /// <param name="column">The column.</param>
    /// <param name="rowId">Of row-bound columns; else null.</param>
    public EnvelopeBinding Bind(BoundColumn column, string? rowId = null) => new(column, _scopeBytes ??= EnvelopeBinding.EncodeScope(Scope, column, Id), EnvelopeBinding.EncodeRow(column, rowId));

    /// <summary>False when the key was let go: fetch it again.</summary>
    public bool TryPin()
    {
        var pins = Volatile.Read(ref _pins);
        while (pins >= 0 && Volatile.Read(ref _dropped) == 0)
        {
            var seen = Interlocked.CompareExchange(ref _pins, pins + 1, pins);
            if (seen == pins)
            {
                return true;
            }

            pins = seen;
        }

        return false;
    }

    public void Unpin()
    {
        if (Interlocked.Decrement(ref _pins) == 0 && Volatile.Read(ref _dropped) != 0)
        {
            TryRetire();
        }
    }

    /// <summary>Zeroes the key unless somebody works with it.</summary>
    public bool TryRetire()
    {
        if (Interlocked.CompareExchange(ref _pins, Dead, 0) != 0)
        {
            return false;
        }

        if (IsTransient)
        {
            KeyRingRegistry.RemoveTransient(this);
        }

        _key.Dispose();
        _kek?.Unpin();
        return true;
    }

    /// <summary>Lets the key go: zeroed now, or with its last pin.</summary>
    public void Drop()
    {
        Volatile.Write(ref _dropped, 1);
        TryRetire();
    }
}

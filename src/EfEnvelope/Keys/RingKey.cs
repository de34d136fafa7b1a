using System.Collections.Concurrent;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>A key of the ring, unwrapped, with what the ring says of it. Thread safe. A pinned key is zeroed only after its last pin is gone.</summary>
internal sealed class RingKey(KeyRingEntry entry, DataKey key, RingKey? kek, long validatedAt)
{
    private const int MaxBindings = 256;

    private readonly ConcurrentDictionary<string, EnvelopeBinding> _bindings = new(StringComparer.Ordinal);
    private volatile KeyRingEntry _entry = entry;
    private EnvelopeBinding? _lastBinding;
    private long _validatedAt = validatedAt;
    private int _pins;
    private int _dropped;

    public Guid Id => key.Id;

    public string Scope { get; } = entry.Scope;

    public ScopeKind Kind { get; } = KeyScope.KindOf(entry.Scope);

    /// <summary>The ring's row as this process saw it last.</summary>
    public KeyRingEntry Entry
    {
        get => _entry;
        set => _entry = value;
    }

    public KeyState State => _entry.State;

    public DataKey Key => key;

    /// <summary>The kek that wraps it, for row keys.</summary>
    public RingKey? Kek => kek;

    /// <summary>When the key service last confirmed it (monotonic time stamp): a row key's kek speaks for it.</summary>
    public long ValidatedAt
    {
        get => kek?.ValidatedAt ?? Volatile.Read(ref _validatedAt);
        set => Volatile.Write(ref _validatedAt, value);
    }

    /// <summary>The key service's refusal at the last revalidation; thrown at every use until it confirms again.</summary>
    public EnvelopeEncryptionException? Refusal { get; set; }

    /// <summary>Coarse time of the last use, for eviction.</summary>
    public long LastUsed { get; set; } = Environment.TickCount64;

    public bool IsPinned => Volatile.Read(ref _pins) > 0;

    public EnvelopeBinding BindingFor(string columnId)
    {
        var last = _lastBinding;
        if (last is not null && ReferenceEquals(last.ColumnId, columnId))
        {
            return last;
        }

        if (!_bindings.TryGetValue(columnId, out var binding))
        {
            binding = EnvelopeBinding.Create(columnId, Scope);
            if (_bindings.Count < MaxBindings)
            {
                _bindings.TryAdd(columnId, binding);
            }
        }

        return _lastBinding = binding;
    }

    public void Pin() => Interlocked.Increment(ref _pins);

    public void Unpin()
    {
        if (Interlocked.Decrement(ref _pins) == 0 && Volatile.Read(ref _dropped) != 0)
        {
            key.Dispose();
        }
    }

    /// <summary>Lets the key go from the cache: zeroed now, or with its last pin.</summary>
    public void Drop()
    {
        Volatile.Write(ref _dropped, 1);
        if (!IsPinned)
        {
            key.Dispose();
        }
    }
}

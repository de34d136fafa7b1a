using System.Globalization;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>
/// Which keys an incident is about: one key, a scope's keys, everything that a root key of the key service wraps, or everything made before a time. A kek takes the row keys that it wraps with it. Immutable, no I/O.
/// </summary>
public sealed class KeySelection
{
    private readonly Func<KeyRingEntry, bool> _names;
    private readonly string _text;

    private KeySelection(string text, Func<KeyRingEntry, bool> names)
    {
        _text = text;
        _names = names;
    }

    /// <summary>The one key, where one is selected.</summary>
    internal Guid? KeyId { get; private init; }

    /// <summary>The root key, where one is selected.</summary>
    internal string? RootKeyId { get; private init; }

    /// <summary>The time, where one is selected.</summary>
    internal DateTimeOffset? Before { get; private init; }

    /// <summary>One key: a scope's data key, a kek with the row keys under it, or a row key.</summary>
    /// <param name="keyId">The key id that envelopes name.</param>
    public static KeySelection Key(Guid keyId) => new($"key {keyId}", e => e.Id == keyId) { KeyId = keyId };

    /// <summary>Every key of a scope, and the row keys under its keks.</summary>
    /// <param name="scope">The scope.</param>
    public static KeySelection Scope(EnvelopeScope scope) => new($"scope {scope.Value}", e => e.Scope == scope.Value);

    /// <summary>Every key that a root key of the key service wraps, directly or through a kek.</summary>
    /// <param name="rootKeyId">Its immutable id as the ring records it: the ARN on AWS KMS; <c>status</c> prints it.</param>
    public static KeySelection KmsKey(string rootKeyId)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(rootKeyId);
        return new($"KMS key {rootKeyId}", e => e.RootKeyId == rootKeyId) { RootKeyId = rootKeyId };
    }

    /// <summary>Every key that was made before a time. The time may not lie in the future.</summary>
    /// <param name="time">The time; compared with the ring's record, which the maker's clock wrote.</param>
    public static KeySelection CreatedBefore(DateTimeOffset time)
        => new(string.Create(CultureInfo.InvariantCulture, $"keys created before {time.ToUniversalTime():yyyy-MM-dd HH:mm:ssZ}"), e => e.CreatedAt < time) { Before = time };

    /// <inheritdoc/>
    public override string ToString() => _text;

    /// <summary>What the selection means in a ring: the keys that seal values or wrap row keys, and those that an incident response cannot replace.</summary>
    internal (IReadOnlyList<KeyRingEntry> Covered, IReadOnlyList<KeyRingEntry> NotCovered) Of(IReadOnlyList<KeyRingEntry> ring)
    {
        var keks = ring.Where(e => e.Purpose == KeyPurpose.Kek && _names(e)).Select(e => e.Id).ToHashSet();
        var named = ring.Where(e => _names(e) || (e.KekId is { } kek && keks.Contains(kek))).ToLookup(e => e.Purpose is KeyPurpose.Field or KeyPurpose.Kek);
        return ([.. named[true]], [.. named[false]]);
    }
}

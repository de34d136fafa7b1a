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

    /// <summary>Leaves out the keys that replaced reported ones: see <see cref="Scope"/>.</summary>
    private bool SparesReplacements { get; init; }

    /// <summary>The time, where one is selected.</summary>
    internal DateTimeOffset? Before { get; private init; }

    /// <summary>One key: a scope's data key, a kek with the row keys under it, or a row key.</summary>
    /// <param name="keyId">The key id that envelopes name.</param>
    public static KeySelection Key(Guid keyId) => new($"key {keyId}", e => e.Id == keyId) { KeyId = keyId };

    /// <summary>
    /// Every key of a scope, and the row keys under its keks. While keys of the scope are reported compromised and not yet revoked, the ones that replaced them are not meant: the same selection takes the response up where it stopped.
    /// If a replacement may be known too, name it by <see cref="Key"/>.
    /// </summary>
    /// <param name="scope">The scope.</param>
    public static KeySelection Scope(EnvelopeScope scope) => new($"scope {scope.Value}", e => e.Scope == scope.Value) { SparesReplacements = true };

    /// <summary>The same selection later in one response: what replaced the keys meanwhile is not meant, also when another response has revoked them.</summary>
    internal KeySelection After(IEnumerable<KeyRingEntry> covered)
    {
        if (!SparesReplacements)
        {
            return this;
        }

        var ids = covered.Select(e => e.Id).ToHashSet();
        return new KeySelection(_text, e => ids.Contains(e.Id));
    }

    /// <summary>Every key that a scope ever had.</summary>
    internal static KeySelection WholeScope(string scope) => new($"scope {scope}", e => e.Scope == scope);

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
    /// <param name="ring">Every key of scopes, or the one key that is selected.</param>
    internal SelectionMeaning Of(IReadOnlyList<KeyRingEntry> ring)
    {
        // By version and not by time: clocks differ.
        var reported = SparesReplacements
            ? ring.Where(e => _names(e) && (e.State == KeyState.Compromised || e.FormerState == KeyState.Compromised)).GroupBy(e => e.Purpose).ToDictionary(g => g.Key, g => g.Max(e => e.Version))
            : [];
        bool Names(KeyRingEntry e) => _names(e) && (!reported.TryGetValue(e.Purpose, out var newest) || e.Version <= newest);
        var keks = ring.Where(e => e.Purpose == KeyPurpose.Kek && Names(e)).Select(e => e.Id).ToHashSet();
        var named = ring.Where(Names).ToLookup(e => e.Purpose is KeyPurpose.Field or KeyPurpose.Kek);

        // By a time a row key is meant by itself too: the clock that wrote it may be behind that of its kek.
        bool Covers(KeyRingEntry rowKey) => (rowKey.KekId is { } kek && keks.Contains(kek)) || (Before is not null && _names(rowKey));
        return new SelectionMeaning([.. named[true]], [.. named[false]], Before is not null ? RingFilter.RowKeys : RingFilter.Under(keks), Covers);
    }
}

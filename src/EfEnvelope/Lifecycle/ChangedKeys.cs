using System.Collections;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>
/// Keys that a call changed, as they are now: all keys of scopes, and the first 1,000 row keys, since there may be millions. <see cref="RowKeys"/> and <see cref="Total"/> count all. Immutable.
/// </summary>
public sealed class ChangedKeys : IReadOnlyList<KeyInfo>
{
    private readonly IReadOnlyList<KeyInfo> _listed;

    internal ChangedKeys(IReadOnlyList<KeyInfo> listed, long rowKeys, long total) => (_listed, RowKeys, Total) = (listed, rowKeys, total);

    /// <summary>Row keys that were changed, listed or not.</summary>
    public long RowKeys { get; }

    /// <summary>Keys that were changed, listed or not.</summary>
    public long Total { get; }

    /// <summary>Keys that are listed: at most 1,000 row keys among them.</summary>
    public int Count => _listed.Count;

    /// <summary>A listed key.</summary>
    /// <param name="index">From 0 to below <see cref="Count"/>.</param>
    public KeyInfo this[int index] => _listed[index];

    internal static ChangedKeys None { get; } = new([], 0, 0);

    internal static ChangedKeys Of(ChangedEntries changed) => new([.. changed.Listed.Select(KeyInfo.Of)], changed.RowKeys, changed.Count);

    /// <summary>The listed keys.</summary>
    public IEnumerator<KeyInfo> GetEnumerator() => _listed.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

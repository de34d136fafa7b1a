namespace EfEnvelope.Keys;

/// <summary>Keys that an operation changed: all of scopes, the first <see cref="MaxRowKeys"/> row keys, and how many row keys in all. Not thread safe.</summary>
internal sealed class ChangedEntries
{
    /// <summary>Row keys that are named one by one; there may be millions.</summary>
    public const int MaxRowKeys = 1_000;

    private readonly List<KeyRingEntry> _listed = [];

    public IReadOnlyList<KeyRingEntry> Listed => _listed;

    public long RowKeys { get; private set; }

    public long Scopes { get; private set; }

    public long Count => Scopes + RowKeys;

    public void Add(KeyRingEntry entry)
    {
        if (entry.KekId is null)
        {
            Scopes++;
        }
        else if (++RowKeys > MaxRowKeys)
        {
            return;
        }

        _listed.Add(entry);
    }
}

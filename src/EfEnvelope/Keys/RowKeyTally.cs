namespace EfEnvelope.Keys;

/// <summary>Adds row keys up by kek and state, one by one, and keeps none. Not thread safe.</summary>
internal sealed class RowKeyTally
{
    private readonly Dictionary<(Guid KekId, string Parent, KeyState State), Sum> _sums = [];

    public void Clear() => _sums.Clear();

    /// <summary>Adds a row key; any other key is no row key and is passed over.</summary>
    /// <param name="key">The key.</param>
    /// <param name="cells">Cells that name it.</param>
    public void Add(KeyRingEntry key, long cells = 0)
    {
        if (key.KekId is not { } kek)
        {
            return;
        }

        Span<byte> id = stackalloc byte[16];
        key.Id.TryWriteBytes(id);
        var at = (kek, KeyScope.ParentOf(key.Scope), key.State);
        if (!_sums.TryGetValue(at, out var sum))
        {
            _sums[at] = sum = new Sum { CreatedAt = key.CreatedAt, ChangedAt = key.StateChangedAt ?? key.CreatedAt };
        }

        sum.Keys++;
        sum.Ids ^= new UInt128(BitConverter.ToUInt64(id), BitConverter.ToUInt64(id[8..]));
        sum.Cells += cells;
        sum.CreatedAt = key.CreatedAt < sum.CreatedAt ? key.CreatedAt : sum.CreatedAt;
        sum.ChangedAt = (key.StateChangedAt ?? key.CreatedAt) is var changed && changed > sum.ChangedAt ? changed : sum.ChangedAt;
    }

    public IEnumerable<(RowKeySum Keys, long Cells)> Sums
        => _sums.Select(s => (new RowKeySum(s.Key.KekId, s.Key.Parent, s.Key.State, s.Value.Keys, s.Value.CreatedAt, s.Value.ChangedAt) { Ids = s.Value.Ids }, s.Value.Cells));

    private sealed class Sum
    {
        public long Keys { get; set; }

        public UInt128 Ids { get; set; }

        public long Cells { get; set; }

        public DateTimeOffset CreatedAt { get; set; }

        public DateTimeOffset ChangedAt { get; set; }
    }
}

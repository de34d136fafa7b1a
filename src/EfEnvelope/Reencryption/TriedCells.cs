namespace EfEnvelope.Reencryption;

/// <summary>The cells that a run tried and could not open, each told once however often it is tried; entered with the commit that listed them. Thread-safe.</summary>
internal sealed class TriedCells
{
    private readonly HashSet<(string Table, string Column, string PrimaryKey)> _cells = [];
    private readonly Lock _gate = new();

    public bool Contains(QuarantinedCell cell) => Contains((cell.Table, cell.Column, cell.PrimaryKey));

    public bool Contains((string Table, string Column, string PrimaryKey) cell)
    {
        lock (_gate)
        {
            return _cells.Contains(cell);
        }
    }

    public void Add(IEnumerable<(string Table, string Column, string PrimaryKey)> cells)
    {
        lock (_gate)
        {
            _cells.UnionWith(cells);
        }
    }
}

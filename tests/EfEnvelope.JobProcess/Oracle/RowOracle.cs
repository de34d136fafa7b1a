using EfEnvelope.JobProcess.Load;

namespace EfEnvelope.JobProcess.Oracle;

/// <summary>The application's last committed write of every row that was ever touched. Untouched rows below the first <paramref name="rows"/> numbers hold their initial values. Not thread safe.</summary>
internal sealed class RowOracle(long rows)
{
    private readonly Dictionary<(string Kind, long Number), (RowState? Committed, RowState? Intended)> _touched = [];

    public long Rows => rows;

    public IEnumerable<(string Kind, long Number)> Touched => _touched.Keys;

    public void Intend(string kind, long number, RowState state) => _touched[(kind, number)] = (Committed(kind, number), state);

    public void Commit(string kind, long number) => _touched[(kind, number)] = (_touched[(kind, number)].Intended, null);

    public void RollBack(string kind, long number) => _touched[(kind, number)] = (_touched[(kind, number)].Committed, null);

    /// <summary>The last committed state; null for a row that never was.</summary>
    public RowState? Committed(string kind, long number)
        => _touched.TryGetValue((kind, number), out var found) ? found.Committed : number < rows ? RowState.Initial : null;

    /// <summary>The state of a save whose outcome nobody saw.</summary>
    public RowState? Intended(string kind, long number) => _touched.TryGetValue((kind, number), out var found) ? found.Intended : null;

    /// <summary>Whether a row may stand in the database as it does.</summary>
    public bool Allows(string kind, IChaosRow row)
        => (Committed(kind, row.Number) is { } committed && Values.Holds(row, committed)) || (Intended(kind, row.Number) is { } intended && Values.Holds(row, intended));

    /// <summary>Whether a row may be absent.</summary>
    public bool AllowsAbsence(string kind, long number)
        => Committed(kind, number) is null or { IsDeleted: true } || Intended(kind, number) is { IsDeleted: true };
}

namespace EfEnvelope.Storage;

/// <summary>
/// The cell that the envelope reader handed out last on this thread: the converter that runs next opens it with what the reader knows of the row.
/// The cell is compared by reference, so a stale frame never serves another cell.
/// </summary>
internal static class OpeningFrame
{
    [ThreadStatic]
    private static object? _cell;

    [ThreadStatic]
    private static ICellSource? _source;

    [ThreadStatic]
    private static int _ordinal;

    public static void Set(object cell, ICellSource source, int ordinal)
    {
        _cell = cell;
        _source = source;
        _ordinal = ordinal;
    }

    public static bool TryGet(object cell, out ICellSource source, out int ordinal)
    {
        source = _source!;
        ordinal = _ordinal;
        return ReferenceEquals(cell, _cell) && _source is not null;
    }

    public static void Clear()
    {
        _cell = null;
        _source = null;
    }
}

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

    /// <summary>A JSON document was handed out: EF parses it, so its armour reaches the converter as new strings, until the next cell or document.</summary>
    public static void SetDocument(ICellSource source, int ordinal)
    {
        _cell = null;
        _source = source;
        _ordinal = ordinal;
    }

    /// <summary>The document whose armour is being opened on this thread; never for binary cells.</summary>
    public static bool TryGetDocument(object cell, out ICellSource source, out int ordinal)
    {
        source = _source!;
        ordinal = _ordinal;
        return _cell is null && _source is not null && cell is string;
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

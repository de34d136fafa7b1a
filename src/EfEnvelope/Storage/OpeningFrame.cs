namespace EfEnvelope.Storage;

/// <summary>
/// What the envelope reader handed out last on this thread: the converter that runs next opens it with what the reader knows of the row. A cell is compared by reference, so a stale
/// frame never serves another cell. A document's armour cannot be told from other text: its frame ends when its reader goes on (<see cref="DocumentFrame"/>).
/// </summary>
internal static class OpeningFrame
{
    [ThreadStatic]
    private static object? _cell;

    [ThreadStatic]
    private static ICellSource? _source;

    [ThreadStatic]
    private static DocumentFrame? _document;

    [ThreadStatic]
    private static int _ordinal;

    public static void Set(object cell, ICellSource source, int ordinal)
    {
        _cell = cell;
        _source = source;
        _document = null;
        _ordinal = ordinal;
    }

    /// <summary>A JSON document was handed out: EF parses it, so its armour reaches the converter as new strings, until the next cell or document.</summary>
    public static void SetDocument(DocumentFrame document)
    {
        _cell = null;
        _source = null;
        _document = document;
    }

    /// <summary>The document that was handed out last on this thread; text that is opened now may be of it, or of a buffered row of another reader.</summary>
    public static DocumentFrame? DocumentOf(object cell) => cell is string ? _document : null;

    /// <summary>False also when the reader was released, on whatever thread: its keys may be gone.</summary>
    public static bool TryGet(object cell, out ICellSource source, out int ordinal)
    {
        source = _source!;
        ordinal = _ordinal;
        return ReferenceEquals(cell, _cell) && _source is { IsReleased: false };
    }

    public static void Clear()
    {
        _cell = null;
        _source = null;
        _document = null;
    }
}

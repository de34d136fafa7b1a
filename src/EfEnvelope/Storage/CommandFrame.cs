using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>
/// What happens while one database command is put together: converters are synchronous, so a parameter of an encrypted column first gets a random
/// placeholder, and the envelope replaces it when the command is about to run and its key has been awaited. A stack on the current thread;
/// pushed at CommandCreating, popped at CommandInitialized, cleared on failure.
/// </summary>
internal sealed class CommandFrame
{
    [ThreadStatic]
    private static CommandFrame? _current;

    private CommandFrame? _outer;
    private List<PendingValue>? _pending;

    public static CommandFrame? Current => _current;

    /// <summary>Values to be sealed, by the placeholder instance that stands for each.</summary>
    public List<PendingValue> Pending => _pending ??= [];

    public bool HasPending => _pending is { Count: > 0 };

    /// <summary>Plan of the query that the command executes; set by the plan's own marker parameter.</summary>
    public object? Plan { get; set; }

    /// <summary>The scope that the command's filter fixes for the values which it writes; null where none is.</summary>
    public string? Scope { get; set; }

    public static CommandFrame Push()
    {
        var frame = new CommandFrame { _outer = _current };
        return _current = frame;
    }

    /// <summary>Takes the innermost frame off; null when there is none.</summary>
    public static CommandFrame? Pop()
    {
        var frame = _current;
        _current = frame?._outer;
        return frame;
    }

    /// <summary>Drops every frame of this thread, after a command failed to be put together.</summary>
    public static void Clear() => _current = null;
}

/// <summary>A plaintext that waits for its key; holds the value itself, never encoded bytes.</summary>
internal abstract class PendingValue(ColumnDeclaration column)
{
    public ColumnDeclaration Column => column;

    /// <summary>32 random bytes: matches nothing in any table should it ever reach the database.</summary>
    public byte[] Placeholder { get; } = System.Security.Cryptography.RandomNumberGenerator.GetBytes(32);

    public abstract byte[] Seal(SealingFrame frame);
}

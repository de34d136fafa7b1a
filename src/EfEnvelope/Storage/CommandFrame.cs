using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>
/// What happens while one database command is put together: converters are synchronous, so a parameter of an encrypted column first gets a random
/// placeholder, and the envelope replaces it when the command is about to run and its key has been awaited. A stack on the current thread;
/// pushed at CommandCreating, popped at CommandInitialized; what a failure leaves goes with the context's next command.
/// </summary>
internal sealed class CommandFrame
{
    [ThreadStatic]
    private static CommandFrame? _current;

    /// <summary>Commands of so many contexts are never put together inside one another; frames below are left over.</summary>
    private const int MaxDepth = 8;

    private static readonly object PrintingOwner = new();

    private readonly object _owner;
    private CommandFrame? _outer;
    private List<PendingValue>? _pending;

    private CommandFrame(object owner) => _owner = owner;

    public static CommandFrame? Current => _current;

    /// <summary>Values to be sealed, by the placeholder instance that stands for each.</summary>
    public List<PendingValue> Pending => _pending ??= [];

    /// <summary>Whether the command is only printed: its values are not sealed.</summary>
    public bool IsPrinting => ReferenceEquals(_owner, PrintingOwner);

    public bool HasPending => _pending is { Count: > 0 };

    /// <summary>The command's values after they were sealed, until it has run; null where it has none, or commits nothing.</summary>
    public SealedStatement? Statement { get; set; }

    /// <summary>Lets the values go: they were sealed, or the command does not run.</summary>
    public void Forget() => _pending = null;

    /// <summary>Plan of the query that the command executes; set by the plan's own marker parameter.</summary>
    public object? Plan { get; set; }

    /// <summary>The scope that the command's filter fixes for the values which it writes; null where none is.</summary>
    public string? Scope { get; set; }

    /// <summary>
    /// Begins a command of a context. EF tells of no command that could not be put together, so its frame stays; but a context puts together one command at a time, so a frame of the same context is left over from a failure,
    /// and goes with everything above it.
    /// </summary>
    /// <param name="owner">The context's own object.</param>
    public static CommandFrame Push(object owner)
    {
        var depth = 0;
        for (var frame = _current; frame is not null; frame = frame._outer)
        {
            if (ReferenceEquals(frame._owner, owner) || ++depth > MaxDepth)
            {
                _current = frame._outer;
                break;
            }
        }

        return _current = new CommandFrame(owner) { _outer = _current };
    }

    /// <summary>Begins a command that EF makes and does not run.</summary>
    public static CommandFrame PushPrinting() => Push(PrintingOwner);

    /// <summary>Takes the innermost frame off; null when there is none.</summary>
    public static CommandFrame? Pop()
    {
        var frame = _current;
        _current = frame?._outer;
        return frame;
    }
}

/// <summary>A plaintext that waits for its key; holds the value itself, never encoded bytes.</summary>
internal abstract class PendingValue(ColumnDeclaration column)
{
    public ColumnDeclaration Column => column;

    public byte[] Placeholder { get; } = NewPlaceholder();

    /// <summary>32 random bytes, which match nothing in any table; and an <c>sbyte[]</c> in the place of a <c>byte[]</c>, which no provider accepts, should one ever not be replaced.</summary>
    public static byte[] NewPlaceholder() => (byte[])(object)Array.ConvertAll(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32), static b => unchecked((sbyte)b));

    public abstract byte[] Seal(SealingFrame frame);
}

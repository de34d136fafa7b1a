using EfEnvelope.Envelopes;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Storage;

/// <summary>
/// The CLR default of a value type, in the form in which a compiled model prints it. <c>dotnet ef dbcontext optimize</c> passes it through the converter, where there is neither a row nor a key, and
/// the compiled model passes it back when it starts. Such a constant of the model must never be taken for a cell, so it has a form that no cell can have: an <c>sbyte[]</c> in the place of a
/// <c>byte[]</c>, which the runtime treats as one, which no provider returns and none accepts as a parameter; for armour a literal of the program's own, told by its identity from an equal string that was read.
/// </summary>
internal static class ModelSentinel
{
    private const string Prefix = "EfEnvelope model sentinel ";

    [ThreadStatic]
    private static bool _printing;

    /// <summary>Whether a compiled model is being printed: design time, and no row and no command of a context stand behind the conversion.</summary>
    public static bool IsPrintable => EF.IsDesignTime && SealingFrame.Current is null && CommandFrame.Current is null;

    /// <summary>Whether the conversion that runs on this thread prints a sentinel.</summary>
    public static bool Printing => _printing;

    public static object? Print(Func<object?, object?> convert, object value)
    {
        _printing = true;
        try
        {
            return convert(value);
        }
        finally
        {
            _printing = false;
        }
    }

    public static byte[] Encode<T>(T value) => (byte[])(object)Array.ConvertAll(ValueCodec.Encode(value), static b => unchecked((sbyte)b));

    public static string EncodeArmored<T>(T value) => Prefix + Convert.ToHexString(ValueCodec.Encode(value));

    public static bool TryDecode<T>(byte[] cell, out T value)
    {
        value = default!;
        return cell.GetType() != typeof(byte[]) && ValueCodec.TryDecode(ValueCodec.EncodingOf(typeof(T)), [.. cell], out value);
    }

    public static bool TryDecodeArmored<T>(string cell, out T value)
    {
        value = default!;
        return cell.StartsWith(Prefix, StringComparison.Ordinal) && ReferenceEquals(cell, string.IsInterned(cell))
            && ValueCodec.TryDecode(ValueCodec.EncodingOf(typeof(T)), Convert.FromHexString(cell.AsSpan(Prefix.Length)), out value);
    }
}

using System.Runtime.CompilerServices;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>
/// Opens cells that EF buffered (retrying execution strategies, row-keyed entities) and hands to the converter later, without a frame. Their rows were
/// checked while they were buffered; here the key id leads to its ring, and the strictest state of any ring that holds it wins.
/// </summary>
internal static class BufferedCells
{
    private static readonly ConditionalWeakTable<object, string> RowIds = [];
    private static readonly ConditionalWeakTable<object, string> Unchecked = [];
    private static bool _hasUnchecked;

    /// <summary>Remembers the row id of a row-bound cell for as long as the cell lives.</summary>
    public static void RememberRowId(object cell, string rowId) => RowIds.AddOrUpdate(cell, rowId);

    /// <summary>Remembers which scope, or part of one, the row of a cell asks for, where its key did not open when the row was read: it may by the time the cell is opened.</summary>
    public static void RememberScope(object cell, string scope)
    {
        Volatile.Write(ref _hasUnchecked, true);
        Unchecked.AddOrUpdate(cell, scope);
    }

    /// <exception cref="EnvelopeEncryptionException">No ring opens with the key, or it is of another scope than the cell's row.</exception>
    public static RingKey GetKey(object cell, Guid keyId, ColumnDeclaration column)
        => !KeyRingRegistry.TryResolveForOpening(keyId, out var key) ? throw Why(keyId, column)
            : Volatile.Read(ref _hasUnchecked) && Unchecked.TryGetValue(cell, out var scope) && !KeyScope.Matches(key.Scope, scope)
                ? throw new EnvelopeRefusedException($"A value of column '{column.ColumnId}' (key {keyId}) was sealed for another tenant, subject or row than the one it stands in: it was moved or forged. It is not returned.") { ColumnId = column.ColumnId, KeyId = keyId }
                : key;

    private static EnvelopeEncryptionException Why(Guid keyId, ColumnDeclaration column)
        => KeyRingRegistry.FindError(keyId) ?? new KeyNotFoundInRingException(
            $"A value of column '{column.ColumnId}' names key {keyId}, which no key ring of this process has loaded. Read encrypted properties through a context that calls UseEnvelopeEncryption(), and not from raw values.")
        {
            ColumnId = column.ColumnId,
            KeyId = keyId,
        };

    public static string GetRowId(object cell, ColumnDeclaration column)
        => RowIds.TryGetValue(cell, out var rowId)
            ? rowId
            : throw new EnvelopeRefusedException($"The row of a value of row-bound column '{column.ColumnId}' is not known: the query must return the row's primary key too.") { ColumnId = column.ColumnId };
}

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

    /// <summary>Remembers the row id of a row-bound cell for as long as the cell lives.</summary>
    public static void RememberRowId(object cell, string rowId) => RowIds.AddOrUpdate(cell, rowId);

    public static RingKey GetKey(Guid keyId, ColumnDeclaration column)
        => KeyRingRegistry.TryResolveForOpening(keyId, out var key)
            ? key
            : throw KeyRingRegistry.FindError(keyId) ?? new KeyNotFoundInRingException(
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

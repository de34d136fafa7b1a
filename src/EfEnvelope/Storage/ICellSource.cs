using EfEnvelope.Diagnostics;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>What the reader of a query knows of a cell that it handed out. Used on the reader's own thread only.</summary>
internal interface ICellSource
{
    /// <summary>
    /// The key that opens the cell, after its scope was compared with what the column declares and with the row's tenant, subject or row id where the query returns them.
    /// Throws the typed error otherwise.
    /// </summary>
    RingKey GetKey(Guid keyId, ColumnDeclaration column, int ordinal);

    /// <summary>Where refusals are told.</summary>
    EnvelopeAudit Audit { get; }

    /// <summary>The row id that a row-bound cell is bound to.</summary>
    string GetRowId(ColumnDeclaration column, int ordinal);
}

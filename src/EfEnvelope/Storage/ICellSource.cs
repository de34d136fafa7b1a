using EfEnvelope.Diagnostics;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>What the reader of a query knows of a cell that it handed out. Used by one thread at a time.</summary>
internal interface ICellSource
{
    /// <summary>
    /// The key that opens the cell, after its scope was compared with what the column declares and with the row's tenant, subject or row id where the query returns them.
    /// Throws the typed error otherwise.
    /// </summary>
    RingKey GetKey(Guid keyId, ColumnDeclaration column, int ordinal);

    /// <summary>What the last cell at the ordinal was opened with, when this one names the same key and column: its checks depend on nothing else.</summary>
    bool TryRecall(Guid keyId, ColumnDeclaration column, int ordinal, out RingKey key);

    /// <summary>For <see cref="TryRecall"/>; not for row-bound columns.</summary>
    void Remember(ColumnDeclaration column, int ordinal, RingKey key);

    /// <summary>Whether its keys were let go: it opens nothing any more.</summary>
    bool IsReleased { get; }

    /// <summary>Whether a cell of its rows named the key, whether that opens or not.</summary>
    bool HasMet(Guid keyId);

    /// <summary>Where refusals are told.</summary>
    EnvelopeAudit Audit { get; }
}

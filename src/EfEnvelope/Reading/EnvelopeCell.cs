using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Reading;

/// <summary>What stands in a column of a result.</summary>
internal enum CellKind
{
    Binary,
    Armor,

    /// <summary>A JSON document that may hold armour.</summary>
    Document,
}

/// <summary>One encrypted column of a query's result, and where the same result says whose row it is. Ordinals are -1 where the query does not return the column.</summary>
internal sealed record EnvelopeCell(
    int Ordinal,
    string Name,
    CellKind Kind,
    ColumnDeclaration? Column,
    string Display,
    EncryptedTypeInfo? Type,
    int ScopeOrdinal,
    int RowIdOrdinal,
    int[] KeyOrdinals,
    IProperty[] KeyProperties)
{
    /// <summary>Of a document: the JSON names of its encrypted members, in UTF-8, that no plain member has too.</summary>
    public byte[][] Members { get; init; } = [];

    /// <summary>Of a document: the JSON names of its plain members, in UTF-8, that no encrypted member and no structure has too.</summary>
    public byte[][] PlainMembers { get; init; } = [];

    /// <summary>Of a whole document: whether it is a list, or one object. Null for parts of one.</summary>
    public bool? IsList { get; init; }

    /// <summary>Whether its rows belong to the context's tenant.</summary>
    public bool IsAmbient => Type is { } type ? type.Scope.IsAmbient : Column is { IsAmbient: true };

    /// <summary>Whether its rows have keys of their own.</summary>
    public bool IsPerRow => Type is { } type ? type.Scope.PerRow : Column is { PerRow: true };

    /// <summary>Whether the same columns of the result, and the context's tenant, say whose row both cells are. Of a cell without a type, only its own column says what is to be asked.</summary>
    public bool IsOfSameRow(EnvelopeCell other)
        => ReferenceEquals(Type, other.Type) && IsAmbient == other.IsAmbient && IsPerRow == other.IsPerRow && ScopeOrdinal == other.ScopeOrdinal && RowIdOrdinal == other.RowIdOrdinal && KeyOrdinals.AsSpan().SequenceEqual(other.KeyOrdinals);
}

using System.Data.Common;
using EfEnvelope.Storage;

namespace EfEnvelope.Reading;

/// <summary>The encrypted columns of a query's result. Immutable, shared by all executions of the SQL text.</summary>
/// <param name="cells">The cells, by the ordinals of the projection.</param>
/// <param name="names">The names by which EF reads a <c>FromSql</c> query that it does not compose over, whose columns come in any order; null for any other query, whose columns are the projection's.</param>
internal sealed class ReadPlan(EnvelopeCell[] cells, string[]? names) : IQueryPlan
{
    public EnvelopeCell[] Cells => cells;

    /// <summary>Rows with keys of their own are collected and loaded in bulk: their queries are compiled as buffering.</summary>
    public bool IsBulk { get; } = cells.Any(c => c.Column?.PerRow == true || c is { Kind: CellKind.Document, Type.Scope.PerRow: true });

    public void OnCommandCreating(CommandFrame frame, IReadOnlyDictionary<string, object?> parameterValues) => frame.Plan = this;

    /// <summary>The cells, and what says whose row they are, by the ordinals of a reader; -1 where it does not return a column.</summary>
    public EnvelopeCell[] Locate(DbDataReader reader)
    {
        return names is null ? cells : [.. cells.Select(Relocate)];

        EnvelopeCell Relocate(EnvelopeCell cell) => cell with
        {
            Ordinal = ByName(cell.Ordinal),
            ScopeOrdinal = ByName(cell.ScopeOrdinal),
            RowIdOrdinal = ByName(cell.RowIdOrdinal),
            KeyOrdinals = [.. cell.KeyOrdinals.Select(ByName)],
        };

        int ByName(int ordinal)
        {
            for (var i = 0; ordinal >= 0 && i < reader.FieldCount; i++)
            {
                if (string.Equals(reader.GetName(i), names[ordinal], StringComparison.OrdinalIgnoreCase))
                {
                    return i;
                }
            }

            return -1;
        }
    }
}

using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using EfEnvelope.Storage;

namespace EfEnvelope.Reading;

/// <summary>The encrypted columns of a query's result. Immutable, shared by all executions of the SQL text.</summary>
internal sealed class ReadPlan(EnvelopeCell[] cells) : IQueryPlan
{
    public EnvelopeCell[] Cells => cells;

    /// <summary>Rows with keys of their own are collected and loaded in bulk: their queries are compiled as buffering.</summary>
    public bool IsBulk { get; } = cells.Any(c => c.Column?.PerRow == true || c is { Kind: CellKind.Document, Type.Scope.PerRow: true });

    public void OnCommandCreating(CommandFrame frame, IReadOnlyDictionary<string, object?> parameterValues) => frame.Plan = this;

    /// <summary>
    /// The cells' ordinals in a reader. They are the projection's, but for a FromSql query that EF does not compose over: there EF reads by name, and so do we.
    /// </summary>
    public EnvelopeCell[] Locate(DbDataReader reader)
    {
        foreach (var cell in cells)
        {
            // A part of a document is an expression without a name.
            if (cell.Name.Length == 0)
            {
                continue;
            }

            if (cell.Ordinal >= reader.FieldCount || !string.Equals(reader.GetName(cell.Ordinal), cell.Name, StringComparison.OrdinalIgnoreCase))
            {
                return [.. cells.Select(c => Relocate(c, reader))];
            }
        }

        return cells;
    }

    private static EnvelopeCell Relocate(EnvelopeCell cell, DbDataReader reader)
    {
        for (var i = 0; i < reader.FieldCount && cell.Name.Length > 0; i++)
        {
            if (string.Equals(reader.GetName(i), cell.Name, StringComparison.OrdinalIgnoreCase))
            {
                return cell with
                {
                    Ordinal = i,
                    ScopeOrdinal = ByName(reader, cell.Type?.ScopeProperty),
                    RowIdOrdinal = ByName(reader, cell.Type?.RowIdProperty),
                    KeyOrdinals = [.. cell.KeyProperties.Select(p => ByName(reader, p))],
                };
            }
        }

        return cell.Name.Length == 0 ? cell : cell with { Ordinal = -1 };
    }

    private static int ByName(DbDataReader reader, Microsoft.EntityFrameworkCore.Metadata.IProperty? property)
    {
        var name = property?.GetTableColumnMappings().FirstOrDefault()?.Column.Name;
        for (var i = 0; name is not null && i < reader.FieldCount; i++)
        {
            if (string.Equals(reader.GetName(i), name, StringComparison.OrdinalIgnoreCase))
            {
                return i;
            }
        }

        return -1;
    }
}

using System.Collections.Immutable;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;

namespace EfEnvelope.Reading;

/// <summary>What a query returns: where each column comes from, and which belong to one row.</summary>
internal sealed class ResultColumns
{
    private readonly ColumnTrace[] _traces;
    private readonly RowLinks _links;

    private ResultColumns(ColumnTrace[] traces, RowLinks links)
    {
        _traces = traces;
        _links = links;
    }

    public static ResultColumns Of(SelectExpression select) => new([.. select.Projection.Select(p => ColumnTrace.Of(select, p.Expression))], RowLinks.Of(select));

    /// <summary>All the places that the cells of a column come from; none where they are not known.</summary>
    public ImmutableArray<ColumnOrigin> Origins(int ordinal) => _traces[ordinal].Known;

    /// <summary>Whether a column holds the property of the cell's row wherever the cell stands: of a set operation, on each side that a row with the cell may come from.</summary>
    /// <param name="trace">Where the column comes from.</param>
    /// <param name="cell">Where the cell comes from.</param>
    /// <param name="property">The property.</param>
    /// <param name="paths">The instances that hold it of that row.</param>
    /// <param name="nearest">One that the column must come from.</param>
    public static bool Holds(ColumnTrace trace, ColumnOrigin cell, IProperty property, IReadOnlyList<string> paths, string nearest)
        => IsAlways(trace, property)
            && trace.Known.Where(o => QueryScope.MayMeet(o.Path, cell.Path)).ToList() is { Count: > 0 } origins
            && origins.All(o => o.Maps(property) && paths.Contains(o.Path))
            && origins.Exists(o => o.Path == nearest);

    /// <summary>The ordinal of the property that chooses the key of the cell's row; where the query does not say which that is, the only one of that property in the whole result.</summary>
    public int FindChooser(ColumnOrigin cell, IEntityType type, IProperty property)
        => _links.Find(cell, type, property) is [var nearest, ..] paths ? Find(cell, property, paths, nearest) : Only(cell, property);

    /// <summary>As <see cref="FindChooser"/>, where the query says whose the property is.</summary>
    public int FindLinkedChooser(ColumnOrigin cell, IEntityType type, IProperty property)
        => _links.Find(cell, type, property) is [var nearest, ..] paths ? Find(cell, property, paths, nearest) : -1;

    /// <summary>The ordinal of a part of the primary key of the cell's row, in the nearest of the row's tables that the result has it of.</summary>
    public int FindKey(ColumnOrigin cell, IEntityType type, IProperty property)
    {
        var paths = _links.Find(cell, type, property);
        return paths.Count == 0 ? Only(cell, property) : paths.Select(path => Find(cell, property, paths, path)).FirstOrDefault(ordinal => ordinal >= 0, -1);
    }

    private int Find(ColumnOrigin cell, IProperty property, IReadOnlyList<string> paths, string nearest)
        => Array.FindIndex(_traces, trace => Holds(trace, cell, property, paths, nearest));

    /// <summary>Another instance of the cell's own table is another row (a self-join): what it says is of that row.</summary>
    private int Only(ColumnOrigin cell, IProperty property)
    {
        var found = Enumerable.Range(0, _traces.Length).Where(i => IsAlways(_traces[i], property) && _traces[i].Known.All(o => o.Table != cell.Table && o.Maps(property))).Take(2).ToList();
        return found.Count == 1 ? found[0] : -1;
    }

    /// <summary>A side of a set operation, or a condition, that returns NULL in its stead says nothing of the row.</summary>
    private static bool IsAlways(ColumnTrace trace, IProperty property) => trace is { MayBeNull: false, Known.IsEmpty: false } && trace.Known.Any(o => o.Maps(property));
}

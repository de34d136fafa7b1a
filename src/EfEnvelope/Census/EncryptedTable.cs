using System.Runtime.CompilerServices;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Census;

/// <summary>How a column stores its envelopes.</summary>
internal enum EncryptedStorage
{
    Binary,
    Armor,

    /// <summary>A JSON document whose members are armour.</summary>
    Document,
}

/// <summary>One column that holds envelopes.</summary>
internal sealed record EncryptedColumn(string Name, string Delimited, EncryptedStorage Storage, ColumnDeclaration? Declaration, IReadOnlyDictionary<string, ColumnDeclaration> Members)
{
    /// <summary>The type that the database has for it, of a document of the model; <c>json</c> keeps every character, <c>jsonb</c> does not.</summary>
    public string? StoreType { get; init; }
}

/// <summary>A table with encrypted columns, from the relational model: TPH, TPT, TPC, owned types, table splitting and JSON alike.</summary>
internal sealed record EncryptedTable(string Name, string Delimited, IReadOnlyList<KeyColumn> Key, IReadOnlyList<EncryptedColumn> Columns)
{
    private static readonly ConditionalWeakTable<IModel, IReadOnlyList<EncryptedTable>> Tables = [];

    /// <summary>Whether the model or the ring's table of columns names it; else only those of its cells count that name keys of the ring.</summary>
    public bool IsListed { get; init; } = true;

    /// <summary>Whether the role may read all of it, as far as that is asked beforehand: of other contexts' tables.</summary>
    public bool IsReadable { get; init; } = true;

    /// <summary>What jobs and the quarantine, which contexts of several schemas may share, call it: with the schema that the search path leads to, where that is not <c>public</c>.</summary>
    public string Place { get; init; } = Name;

    /// <summary>The primary key and the encrypted columns as text: ranges and rows of a table of another shape cannot be worked on.</summary>
    public string Shape => string.Join(", ", Key.Select(k => $"{k.Name} {k.Mapping.StoreType}").Concat(Columns.Select(c => $"{c.Name} {c.Storage}")));

    /// <summary>Every table of a finalized model that holds envelopes, in name order.</summary>
    public static IReadOnlyList<EncryptedTable> Of(IModel model, ISqlGenerationHelper sql)
        => Tables.TryGetValue(model, out var known) ? known : Tables.GetValue(model, m => [.. Find(m, sql).OrderBy(t => t.Name, StringComparer.Ordinal)]);

    /// <summary>The same, as jobs and the quarantine call them.</summary>
    public static async ValueTask<IReadOnlyList<EncryptedTable>> PlacedAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var model = session.Context.Model;
        var tables = Of(model, session.Context.GetService<ISqlGenerationHelper>());
        var declared = tables.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        var (names, _) = await DataTables.ResolveAsync(session, model.GetRelationalModel().Tables.Where(t => declared.Contains(DataTables.NameOf(t))), cancellationToken).ConfigureAwait(false);
        return [.. tables.Select(t => names.TryGetValue(t.Name, out var found) && found != $"public.{t.Name}" ? t with { Place = found } : t)];
    }

    private static IEnumerable<EncryptedTable> Find(IModel model, ISqlGenerationHelper sql)
    {
        foreach (var table in model.GetRelationalModel().Tables)
        {
            var columns = table.Columns.Select(c => Describe(c, sql)).OfType<EncryptedColumn>().OrderBy(c => c.Name, StringComparer.Ordinal).ToList();
            if (columns.Count == 0)
            {
                continue;
            }

            var key = table.PrimaryKey?.Columns.Select(c =>
            {
                var mapping = c.PropertyMappings[0];
                return new KeyColumn(c.Name, sql.DelimitIdentifier(c.Name), mapping.TypeMapping, mapping.TypeMapping.Converter?.ProviderClrType ?? Nullable.GetUnderlyingType(mapping.Property.ClrType) ?? mapping.Property.ClrType, mapping.Property);
            }).ToList() ?? [];
            yield return new EncryptedTable(
                table.Schema is null ? table.Name : $"{table.Schema}.{table.Name}", sql.DelimitIdentifier(table.Name, table.Schema), key, columns);
        }
    }

    private static EncryptedColumn? Describe(IColumn column, ISqlGenerationHelper sql)
    {
        foreach (var mapping in column.PropertyMappings)
        {
            if (mapping.Property.FindEnvelope() is { } declaration)
            {
                return new EncryptedColumn(
                    column.Name, sql.DelimitIdentifier(column.Name), declaration.Armored ? EncryptedStorage.Armor : EncryptedStorage.Binary, declaration, new Dictionary<string, ColumnDeclaration>());
            }
        }

        if (column.PropertyMappings.Count > 0)
        {
            return null;
        }

        var members = new Dictionary<string, ColumnDeclaration>(StringComparer.Ordinal);
        foreach (var (_, property) in JsonMembers.Of(column))
        {
            if (property.FindEnvelope() is { } declaration)
            {
                members[declaration.ColumnId] = declaration;
            }
        }

        return members.Count == 0 ? null : new EncryptedColumn(column.Name, sql.DelimitIdentifier(column.Name), EncryptedStorage.Document, null, members) { StoreType = column.StoreType };
    }
}

using System.Data.Common;
using System.Diagnostics.CodeAnalysis;
using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>
/// A row's command whose encrypted cells are envelopes. Values are sealed with the row's key while the command's parameters are made, which gives converters the
/// row that they lack (EF issue 12205). An update of sealed cells also requires, in its WHERE clause, that the row has the tenant or subject whose key sealed them.
/// </summary>
internal sealed class EnvelopeModificationCommand(IModificationCommand inner, IRelationalTypeMappingSource typeMappings, Func<string>? generateParameterName) : IModificationCommand
{
    private IReadOnlyList<IColumnModification>? _columns;

    public ITable? Table => inner.Table;

    public IStoreStoredProcedure? StoreStoredProcedure => inner.StoreStoredProcedure;

    public string TableName => inner.TableName;

    public string? Schema => inner.Schema;

    public IReadOnlyList<IUpdateEntry> Entries => inner.Entries;

    public EntityState EntityState => inner.EntityState;

    public IColumnBase? RowsAffectedColumn => inner.RowsAffectedColumn;

    public IReadOnlyList<IColumnModification> ColumnModifications => _columns ??= Wrap();

    public void AddEntry(IUpdateEntry entry, bool mainEntry) => inner.AddEntry(entry, mainEntry);

    public void PropagateResults(RelationalDataReader relationalReader) => inner.PropagateResults(relationalReader);

    public void PropagateOutputParameters(DbParameterCollection parameterCollection, int baseParameterIndex)
        => inner.PropagateOutputParameters(parameterCollection, baseParameterIndex);

    private IReadOnlyList<IColumnModification> Wrap()
    {
        if (inner.EntityState == EntityState.Deleted || inner.Entries.Count == 0)
        {
            return inner.ColumnModifications;
        }

        var plan = Saves.Find(inner.Entries[0].Context);
        var frame = plan?.FindFrame(inner.Entries);
        IReadOnlyList<IColumnModification> columns;
        using ((frame ?? SealingFrame.Comparing).Enter())
        {
            // JSON documents are rendered here, by EF's reader-writers, which call the converters; and values of entities that go from the row are compared with what comes.
            columns = inner.ColumnModifications;
        }

        var wrapped = new List<IColumnModification>(columns.Count + 1);
        var writes = false;
        foreach (var column in columns)
        {
            // A single member of a JSON document is a column modification too: some providers have rendered (and sealed) it by now, others convert it with the parameter.
            if (frame is null && column.IsWrite && IsDocument(column, out var member))
            {
                RefuseDocument(column, member);
                writes = true;
            }

            if (column is { IsWrite: true, Property: { } property } && property.FindEnvelope() is { } declaration
                && (column.JsonPath is null || EnvelopeValueConverters.FindToken(column.TypeMapping?.Converter) is not null))
            {
                // Entities that share a row need not share a data key: each cell takes its own entity's.
                var own = inner.Entries.Count > 1 && column.Entry is { } entry ? plan?.FindFrame(entry) : null;
                wrapped.Add(new EnvelopeColumnModification(column, declaration, own ?? frame, typeMappings));
                writes = true;
            }
            else
            {
                wrapped.Add(column);
            }
        }

        // A whole JSON document has no property: that its row's key is at hand says that it may hold sealed members. NULL needs no key, and is for the row that the entity says all the same.
        // A stored procedure takes no conditions: its rows are asked about beforehand.
        if ((writes || frame is not null) && inner.EntityState == EntityState.Modified && inner.StoreStoredProcedure is null)
        {
            RequireScope(wrapped, plan);
        }

        return wrapped;
    }

    /// <summary>Whether it is a document, or a part of one, that holds an encrypted member.</summary>
    private bool IsDocument(IColumnModification column, [NotNullWhen(true)] out IProperty? member)
    {
        member = (column.Property is null || column.JsonPath is not null) && inner.Table is { } table ? JsonDocuments.FindMember(new ColumnOrigin("", table, column.ColumnName)) : null;
        return member is not null;
    }

    /// <summary>A document with encrypted members that was rendered without a key.</summary>
    private static void RefuseDocument(IColumnModification column, IProperty member)
    {
        // EF writes a list without elements with every command of its owner.
        if (column.Value is not (null or "[]"))
        {
            throw new EnvelopeConfigurationException($"{member.DeclaringType.DisplayName()}.{member.Name} is encrypted, but no key was chosen for its row. Nothing was written.")
            {
                Entity = member.DeclaringType.DisplayName(),
                Property = member.Name,
                ColumnId = member.FindEnvelope()!.ColumnId,
            };
        }
    }

    /// <summary>
    /// A stub that was attached with another tenant or row id must not get its cells into a row that they do not open in: the update then affects no row. Cells in other tables
    /// than the root's are asked about beforehand (<see cref="StoredScopes"/>).
    /// </summary>
    private void RequireScope(List<IColumnModification> columns, SavePlan? plan)
    {
        foreach (var entry in inner.Entries)
        {
            var info = EncryptedTypeInfo.Of(entry.EntityType);
            if (entry.EntityType.GetRootType() != info.Root)
            {
                continue;
            }

            foreach (var property in info.Choosers)
            {
                if (property != info.RowIdProperty || StoredScopes.RowId(entry.SharedIdentityEntry ?? entry, property) != Guid.Empty)
                {
                    Require(columns, entry, property, null);
                }
                else if (plan?.FindRowId(entry.ToEntityEntry().Entity) is { } fetched)
                {
                    // The row may have been deleted and made anew since.
                    Require(columns, entry, property, fetched);
                }
            }
        }
    }

    private void Require(List<IColumnModification> columns, IUpdateEntry entry, IProperty property, object? fetched)
    {
        if (inner.Table is not { } table || property.GetTableColumnMappings().FirstOrDefault(m => m.Column.Table == table) is not { } mapping || columns.Any(c => c.ColumnName == mapping.Column.Name && c.IsCondition))
        {
            return;
        }

        var condition = new ColumnModification(new ColumnModificationParameters(
            entry, property, mapping.Column, generateParameterName!, mapping.TypeMapping, valueIsRead: false, valueIsWrite: false, columnIsKey: false, columnIsCondition: true, sensitiveLoggingEnabled: false));
        columns.Add(fetched is null ? condition : new FetchedCondition(condition, fetched));
    }
}

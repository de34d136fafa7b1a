using System.Collections.Concurrent;
using System.Data.Common;
using System.Globalization;
using System.Runtime.CompilerServices;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// The ring's table of columns: which column id stands in which database, table and column. Checked before the first value is sealed, and again whenever the ring changed, so that a column id that changed silently (a renamed class or
/// property) is refused before it makes values unreadable, and so that every other user of the ring knows where cells stand.
/// </summary>
internal static class ColumnRegistry
{
    /// <summary>In the place of a column id: the column holds JSON documents, whose members have ids of their own.</summary>
    private const string Documents = "{documents}";

    /// <summary>In the place of a column id: the database did not have the column, and no proof waits for it. Where it is there again it is counted, whoever may have made it: a process that did not know may write to it.</summary>
    private const string Forgotten = "{forgotten}";

    private const string ForgottenDocuments = "{forgotten documents}";

    /// <summary>In the place of a table and a column: up to which epoch of the ring its database has been proven to name no retired key. It stands in the place of the column id.</summary>
    private const string Counted = "{counted}";

    private static readonly ConditionalWeakTable<IModel, ConcurrentDictionary<(KeyRing Ring, string Place), Registration>> Registered = [];

    /// <summary>Refuses a column id that differs from the registered one. Writes nothing: to be asked before keys are made.</summary>
    /// <param name="session">The context's.</param>
    /// <param name="store">The ring.</param>
    /// <param name="written">The tables that are to be written to, as <see cref="TablesOf(IEntityType)"/> names them; null for all of the model. Only looked at where one of the model is not there.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    public static ValueTask CheckAsync(EnvelopeSession session, IKeyRingStore store, IEnumerable<string>? written, CancellationToken cancellationToken)
        => Find(session, written) is not null ? ValueTask.CompletedTask : RegisterAsync(session, store, insert: false, cancellationToken);

    /// <summary>
    /// Registers what the model declares and the ring does not list: when the keys are had, and before the first cell is sent. Asks again here where that was longer than a lease ago: the ring was in reach a moment ago. Parameters as of
    /// <see cref="CheckAsync"/>.
    /// </summary>
    public static ValueTask EnsureRegisteredAsync(EnvelopeSession session, IKeyRingStore store, IEnumerable<string>? written, CancellationToken cancellationToken)
        => Find(session, written) is { } known && session.Ring.IsFresh(known.AskedAt) ? ValueTask.CompletedTask : RegisterAsync(session, store, insert: true, cancellationToken);

    /// <summary>The tables that a save of the type writes to.</summary>
    public static IEnumerable<string> TablesOf(IEntityType type)
        => type.GetTableMappings().Any() || type.FindOwnership() is not { } ownership ? type.GetTableMappings().Select(m => DataTables.NameOf(m.Table)) : TablesOf(ownership.PrincipalEntityType);

    /// <summary>The tables that a statement with values of a column may write to: documents do not tell whose their members are.</summary>
    public static IEnumerable<string> TablesOf(IModel model, string columnId)
    {
        // Begun only where it is looked at.
        foreach (var ((table, _), property) in Declared(model))
        {
            if (property?.FindEnvelope() is not { } declaration || declaration.ColumnId == columnId)
            {
                yield return DataTables.NameOf(table);
            }
        }
    }

    private static Registration? Find(EnvelopeSession session, IEnumerable<string>? written)
        => Registered.TryGetValue(session.Context.Model, out var rings) && session.Ring is var ring && rings.TryGetValue((ring, DataDatabase.PlaceOf(session)), out var known)
            && known.Stamp == ring.Stamp && (known.Unsettled.Count == 0 || (written is not null && !written.Any(known.Unsettled.Contains))) ? known : null;

    private static async ValueTask RegisterAsync(EnvelopeSession session, IKeyRingStore store, bool insert, CancellationToken cancellationToken)
    {
        var model = session.Context.Model;
        var stamp = session.Ring.Stamp;
        var askedAt = Confirmation.Now(session.Ring.Time);
        var table = Table(session);
        var database = await DataDatabase.NameAsync(session, cancellationToken).ConfigureAwait(false);
        var declared = Declared(model);
        var (names, unsettled) = await DataTables.ResolveAsync(session, declared.Keys.Select(p => p.Table), cancellationToken).ConfigureAwait(false);
        var (known, _) = await ((RelationalKeyRingStore)store).RunAsync((connection, transaction) => ReadAsync(table, connection, transaction, cancellationToken), cancellationToken).ConfigureAwait(false);
        var missing = new List<(string Table, string Column, string Id, bool IsForgotten)>();
        var outdated = new List<(string Table, string Column)>();
        foreach (var ((inModel, column), property) in declared)
        {
            // What is not found is in nobody's place: the statement itself would fail.
            var name = DataTables.NameOf(inModel);
            if (!names.TryGetValue(name, out var found))
            {
                continue;
            }

            if (known.TryGetValue((database, found, column), out var registered) && !IsForgotten(registered))
            {
                RequireSame(property, (found, column), registered);
            }
            else
            {
                missing.Add((found, column, property?.FindEnvelope()!.ColumnId ?? Documents, registered is not null));
            }

            // Versions before registered the model's name. That is this column where no other has the name; else it may be another's, and stays until it is forgotten.
            if (name != found && known.TryGetValue((database, name, column), out registered) && !IsForgotten(registered) && await DataTables.FindOnlyAsync(session, name, column, cancellationToken).ConfigureAwait(false) == found)
            {
                RequireSame(property, (found, column), registered);
                outdated.Add((name, column));
            }
        }

        if (insert)
        {
            await WriteAsync(store, table, database, missing, outdated, cancellationToken).ConfigureAwait(false);
        }

        if ((insert || (missing.Count == 0 && outdated.Count == 0)) && !store.IsTransient && stamp is { } at)
        {
            Registered.GetOrCreateValue(model)[(session.Ring, DataDatabase.PlaceOf(session))] = new Registration(at, askedAt, unsettled);
        }
    }

    /// <summary>What is new is there before what it replaces is gone.</summary>
    private static async ValueTask WriteAsync(
        IKeyRingStore store, TableSql table, string database, List<(string Table, string Column, string Id, bool IsForgotten)> missing, List<(string Table, string Column)> outdated, CancellationToken cancellationToken)
    {
        if (missing.Count == 0 && outdated.Count == 0)
        {
            return;
        }

        await ((RelationalKeyRingStore)store).RunAsync(async (connection, transaction) =>
        {
            foreach (var (place, column, id, isForgotten) in missing)
            {
                (string, object?)[] values = [.. At(database, place, column), (nameof(EnvelopeColumnRow.ColumnId), id)];
                if (isForgotten)
                {
                    await TableSql.ExecuteAsync(connection, transaction, command => SetId(table, command, At(database, place, column), id, isForgotten: true), cancellationToken).ConfigureAwait(false);
                }

                await TableSql.ExecuteAsync(connection, transaction, command => $"{table.Insert(command, values)} ON CONFLICT DO NOTHING", cancellationToken).ConfigureAwait(false);
            }

            try
            {
                foreach (var (name, column) in outdated)
                {
                    await TableSql.ExecuteAsync(connection, transaction, command => $"DELETE FROM {table.Name} WHERE {table.Where(command, At(database, name, column))}", cancellationToken).ConfigureAwait(false);
                }
            }
            catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.InsufficientPrivilege && transaction is null)
            {
                // Application roles need no DELETE on the ring: what they leave goes with the next job, or is forgotten by hand. Until then it is one column too many for whoever proves something, never one too few.
            }

            return true;
        }, cancellationToken).ConfigureAwait(false);
    }

    private static (string, object)[] At(string database, string tableName, string columnName)
        => [(nameof(EnvelopeColumnRow.DatabaseName), database), (nameof(EnvelopeColumnRow.TableName), tableName), (nameof(EnvelopeColumnRow.ColumnName), columnName)];

    private static void RequireSame(IProperty? property, (string Table, string Column) place, string registered)
    {
        // A former id stays registered: instances of the version before may still run, and refuse any other. A column that began or ceased to hold documents has no former one.
        if (property?.FindEnvelope() is not { } declaration || registered == Documents || registered == declaration.ColumnId || declaration.FormerColumnIds.Contains(registered, StringComparer.Ordinal))
        {
            return;
        }

        throw new EnvelopeConfigurationException(
            $"{property.DeclaringType.DisplayName()}.{property.Name}: column {place.Table}.{place.Column} holds values of column id '{registered}', but the model now says '{declaration.ColumnId}' (a renamed class or property?). Keep the id: [Encrypted(ColumnId = \"{registered}\")], or declare it as a former one: [Encrypted(FormerColumnIds = [\"{registered}\"])]. Nothing was written.")
        {
            Entity = property.DeclaringType.DisplayName(),
            Property = property.Name,
            ColumnId = registered,
        };
    }

    private static bool IsForgotten(string id) => id is Forgotten or ForgottenDocuments;

    private static string SetId(TableSql table, DbCommand command, (string, object)[] at, string id, bool isForgotten)
    {
        var column = table[nameof(EnvelopeColumnRow.ColumnId)];
        return $"UPDATE {table.Name} SET {column} = {table.Add(command, nameof(EnvelopeColumnRow.ColumnId), id)} WHERE {table.Where(command, at)} AND {column} {(isForgotten ? "IN" : "NOT IN")} ('{Forgotten}', '{ForgottenDocuments}')";
    }

    /// <summary>
    /// What is registered in the ring: columns of the session's own database, its model's among them; other databases that have not been counted since the keys in question changed last; and whether there are others at all.
    /// </summary>
    /// <param name="session">The session.</param>
    /// <param name="ending">The key in question; null for every retired one. Row keys under a retired kek stopped with it.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    public static async Task<(List<(string Table, string Column, bool IsDocument, bool IsForgotten)> Columns, List<string> Databases, bool IsShared)> FindAsync(EnvelopeSession session, Guid? ending, CancellationToken cancellationToken)
    {
        var database = await DataDatabase.NameAsync(session, cancellationToken).ConfigureAwait(false);
        var store = (RelationalKeyRingStore)session.OpenStore();
        var (all, counted) = await store.RunAsync((connection, transaction) => ReadAsync(Table(session), connection, transaction, cancellationToken), cancellationToken).ConfigureAwait(false);
        var others = all.Where(c => !IsForgotten(c.Value)).Select(c => c.Key.Database).Where(d => d != database).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToList();

        // Asked later than the marks were read: what changed in between counts.
        var changed = others.Exists(counted.ContainsKey) ? await store.FindLastChangeAsync(ending, cancellationToken).ConfigureAwait(false) : 0;
        return (
            [.. all.Where(c => c.Key.Database == database).Select(c => (c.Key.Table, c.Key.Column, c.Value is Documents or ForgottenDocuments, IsForgotten(c.Value))).Order()],
            [.. others.Where(d => !counted.TryGetValue(d, out var upTo) || upTo < changed)], others.Count > 0);
    }

    /// <summary>Every registered column that is not forgotten.</summary>
    public static Task<List<(string Database, string Table, string Column)>> ListAsync(EnvelopeSession session, CancellationToken cancellationToken)
        => ((RelationalKeyRingStore)session.OpenStore()).RunAsync(
            async (connection, transaction) => (await ReadAsync(Table(session), connection, transaction, cancellationToken).ConfigureAwait(false)).Columns.Where(c => !IsForgotten(c.Value)).Select(c => c.Key).ToList(), cancellationToken);

    /// <summary>Records that no cell of the session's database names a key that was retired up to an epoch: what cells are written from then on name keys that seal, and those are retired later.</summary>
    public static async Task MarkCountedAsync(EnvelopeSession session, long epoch, CancellationToken cancellationToken)
    {
        var table = Table(session);
        var at = At(await DataDatabase.NameAsync(session, cancellationToken).ConfigureAwait(false), Counted, Counted);
        (string, object?) upTo = (nameof(EnvelopeColumnRow.ColumnId), epoch.ToString(CultureInfo.InvariantCulture));
        await ((RelationalKeyRingStore)session.OpenStore()).RunAsync(async (connection, transaction) =>
        {
            if (await TableSql.ExecuteAsync(connection, transaction, command => $"UPDATE {table.Name} SET {table.Set(command, upTo)} WHERE {table.Where(command, at)}", cancellationToken).ConfigureAwait(false) == 0)
            {
                await TableSql.ExecuteAsync(connection, transaction, command => $"{table.Insert(command, [.. at.Select(v => (v.Item1, (object?)v.Item2)), upTo])} ON CONFLICT DO NOTHING", cancellationToken).ConfigureAwait(false);
            }

            return true;
        }, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Removes a database's columns; the epoch rises in the same commit, so that processes that do write to it register it again with a save after they confirmed the ring. False when it has none.</summary>
    public static Task<bool> ForgetAsync(EnvelopeSession session, string database, CancellationToken cancellationToken)
    {
        var table = Table(session);
        return ((RelationalKeyRingStore)session.OpenStore()).ChangeAsync(
            async (connection, transaction, _) => await TableSql.ExecuteAsync(
                connection, transaction, command => $"DELETE FROM {table.Name} WHERE {table.Where(command, (nameof(EnvelopeColumnRow.DatabaseName), database))}", cancellationToken).ConfigureAwait(false) > 0,
            cancellationToken);
    }

    /// <summary>Marks one column of a database as forgotten: it stays listed, and is counted where the database has it again. The epoch rises as in <see cref="ForgetAsync(EnvelopeSession, string, CancellationToken)"/>.</summary>
    public static Task<bool> ForgetAsync(EnvelopeSession session, string database, (string Table, string Column, bool IsDocument) column, CancellationToken cancellationToken)
    {
        var table = Table(session);
        return ((RelationalKeyRingStore)session.OpenStore()).ChangeAsync(
            async (connection, transaction, _) => await TableSql.ExecuteAsync(
                connection, transaction,
                command => SetId(table, command, At(database, column.Table, column.Column), column.IsDocument ? ForgottenDocuments : Forgotten, isForgotten: false),
                cancellationToken).ConfigureAwait(false) > 0,
            cancellationToken);
    }

    private static TableSql Table(EnvelopeSession session) => new(session.Context.Model.FindEntityType(typeof(EnvelopeColumnRow))!, session.Context.GetService<ISqlGenerationHelper>());

    private static async Task<(Dictionary<(string Database, string Table, string Column), string> Columns, Dictionary<string, long> Counted)> ReadAsync(TableSql table, DbConnection connection, DbTransaction? transaction, CancellationToken cancellationToken)
    {
        var known = new Dictionary<(string, string, string), string>();
        var counted = new Dictionary<string, long>(StringComparer.Ordinal);
        using var select = connection.CreateCommand();
        select.Transaction = transaction;
        select.CommandText = $"SELECT {table.Columns(nameof(EnvelopeColumnRow.DatabaseName), nameof(EnvelopeColumnRow.TableName), nameof(EnvelopeColumnRow.ColumnName), nameof(EnvelopeColumnRow.ColumnId))} FROM {table.Name}";
        using var reader = await select.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            var (database, name, column, id) = (reader.GetString(0), reader.GetString(1), reader.GetString(2), reader.GetString(3));
            if (name != Counted)
            {
                known[(database, name, column)] = id;
            }
            else if (long.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var epoch))
            {
                counted[database] = epoch;
            }
        }

        return (known, counted);
    }

    /// <summary>Envelope columns by table and column, with their property; null for columns of JSON documents with encrypted members.</summary>
    private static Dictionary<(ITable Table, string Column), IProperty?> Declared(IModel model)
    {
        var places = new Dictionary<(ITable, string), IProperty?>();
        foreach (var table in model.GetRelationalModel().Tables)
        {
            foreach (var column in table.Columns)
            {
                if (column.PropertyMappings.Count == 0 && JsonMembers.Of(column).Any(m => m.Property.FindEnvelope() is not null))
                {
                    places[(table, column.Name)] = null;
                }

                foreach (var mapping in column.PropertyMappings)
                {
                    if (mapping.Property.FindEnvelope() is not null)
                    {
                        places[(table, column.Name)] = mapping.Property;
                    }
                }
            }
        }

        return places;
    }

    /// <summary>What was found registered: true as long as the ring is as it was, and for a lease at most, since tables and search paths change without it.</summary>
    /// <param name="Stamp">The ring's state.</param>
    /// <param name="AskedAt">When the database was asked.</param>
    /// <param name="Unsettled">Tables that are not there, or not for others yet: who writes to one asks again.</param>
    private sealed record Registration((Guid Id, long Epoch, long Invalidations) Stamp, Confirmation AskedAt, IReadOnlySet<string> Unsettled);
}

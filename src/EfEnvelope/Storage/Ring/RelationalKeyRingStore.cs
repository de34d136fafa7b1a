using System.Data.Common;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Transactions;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage.Ring;

/// <summary>The ring's rows by SQL, with names and types from the model. One instance per use; connects for each operation and disconnects again.</summary>
internal sealed partial class RelationalKeyRingStore : IKeyRingStore
{
    private const int ChunkSize = 1_000;
    private const int MaxAttempts = 3;

    private static readonly ConditionalWeakTable<IModel, RingTables> Tables = [];

    private readonly RingConnection _connection;
    private readonly TableSql _ring;
    private readonly TableSql _keys;

    public RelationalKeyRingStore(RingConnection connection, IModel model, ISqlGenerationHelper sql)
    {
        _connection = connection;
        (_ring, _keys) = Tables.GetValue(model, m => new RingTables(Table(m, typeof(EnvelopeRingRow), sql), Table(m, typeof(EnvelopeKeyRow), sql)));
    }

    private RelationalKeyRingStore(RelationalKeyRingStore other, RingConnection connection)
    {
        _connection = connection;
        _ring = other._ring;
        _keys = other._keys;
    }

    public bool IsTransient => _connection.IsTransient;

    public bool UsesCallersConnection => _connection.IsCallers;

    public IKeyRingStore Detach() => _connection.IsCallers ? this : new RelationalKeyRingStore(this, _connection.Detach());

    public Task<T> OnOneConnectionAsync<T>(Func<IKeyRingStore, Task<T>> work, CancellationToken cancellationToken)
        => _connection.IsCallers
            ? work(this)
            : RunAsync((connection, transaction) => work(new RelationalKeyRingStore(this, RingConnection.Callers(connection, transaction))), cancellationToken, repeatsTimeouts: false);

    public Task<RingIdentity> GetIdentityAsync(CancellationToken cancellationToken)
        => RunAsync(async (connection, transaction) =>
        {
            for (var attempt = 0; ; attempt++)
            {
                using (var command = Command(connection, transaction))
                {
                    command.CommandText = $"SELECT {_ring.Columns(nameof(EnvelopeRingRow.RingId), nameof(EnvelopeRingRow.Salt), nameof(EnvelopeRingRow.Epoch), nameof(EnvelopeRingRow.SealingLeaseTicks))}{InRecovery(connection)} FROM {_ring.Name} WHERE {_ring[nameof(EnvelopeRingRow.Slot)]} = 1";
                    using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                    if (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
                    {
                        return KeyRows.ReadTyped(reader, _ring, static (row, ring) => new RingIdentity(
                            ring.Read<Guid>(row, 0, nameof(EnvelopeRingRow.RingId)), ring.Read<byte[]>(row, 1, nameof(EnvelopeRingRow.Salt)), ring.Read<long>(row, 2, nameof(EnvelopeRingRow.Epoch)))
                        {
                            // No option allows more: whoever writes to the table cannot make every cut-off wait for ever.
                            SealingLease = TimeSpan.FromTicks(Math.Clamp(ring.Read<long>(row, 3, nameof(EnvelopeRingRow.SealingLeaseTicks)), 0, KeyRingOptions.MaximumSealingLease.Ticks)),
                            IsStandby = IsStandby(row, 4),
                        });
                    }
                }

                if (attempt > 1)
                {
                    throw new KeyUnavailableException("The key ring's own row could not be made. Retry.");
                }

                await InsertIdentityAsync(connection, transaction, new RingIdentity(Guid.NewGuid(), RandomNumberGenerator.GetBytes(16), 0), cancellationToken).ConfigureAwait(false);
            }
        }, cancellationToken, repeatsTimeouts: false);

    public Task RaiseSealingLeaseAsync(TimeSpan lease, CancellationToken cancellationToken)
        => RunAsync((connection, transaction) => TableSql.ExecuteAsync(
            connection,
            transaction,
            command =>
            {
                var value = _ring.Add(command, nameof(EnvelopeRingRow.SealingLeaseTicks), lease.Ticks);
                return $"UPDATE {_ring.Name} SET {_ring[nameof(EnvelopeRingRow.SealingLeaseTicks)]} = {value} WHERE {_ring[nameof(EnvelopeRingRow.SealingLeaseTicks)]} < {value}";
            },
            cancellationToken), cancellationToken, repeatsTimeouts: false);

    /// <summary>Of these very scopes: a column that somebody gave another collation, or an SQLite that cuts text at a NUL, finds others too.</summary>
    public async Task<IReadOnlyList<KeyRingEntry>> FindByScopeAsync(IReadOnlyCollection<string> scopes, KeyPurpose purpose, CancellationToken cancellationToken)
    {
        var asked = scopes.ToHashSet(StringComparer.Ordinal);
        var found = await QueryChunksAsync(scopes, (command, chunk) =>
            $"{_keys.In(command, nameof(EnvelopeKeyRow.Scope), chunk)} AND {_keys[nameof(EnvelopeKeyRow.Purpose)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.Purpose), (int)purpose)} ORDER BY {_keys[nameof(EnvelopeKeyRow.Version)]} DESC", cancellationToken, isOfPrimary: purpose != KeyPurpose.Mac).ConfigureAwait(false);
        return found.All(e => asked.Contains(e.Scope)) ? found : [.. found.Where(e => asked.Contains(e.Scope))];
    }

    public Task<IReadOnlyList<KeyRingEntry>> FindByIdAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellationToken)
        => QueryChunksAsync(ids, (command, chunk) => _keys.In(command, nameof(EnvelopeKeyRow.Id), chunk), cancellationToken, repeatsTimeouts: false);

    public Task<IReadOnlyList<KeyRingEntry>> PageAsync(RingFilter filter, Guid? after, int count, CancellationToken cancellationToken)
        => QueryAsync(
            command =>
            {
                var (id, where) = (_keys[nameof(EnvelopeKeyRow.Id)], Where(command, filter, inIdOrder: true));
                var behind = after is { } last ? $" AND {id} > {_keys.Add(command, nameof(EnvelopeKeyRow.Id), last)}" : "";
                return $"{where}{behind} ORDER BY {id} LIMIT {count.ToString(System.Globalization.CultureInfo.InvariantCulture)}";
            },
            cancellationToken);

    public Task<IReadOnlyList<KeyRingEntry>> ListAsync(bool includeRowKeys, CancellationToken cancellationToken)
        => QueryAsync(_ => $"{(includeRowKeys ? "1 = 1" : $"{_keys[nameof(EnvelopeKeyRow.KekId)]} IS NULL")} ORDER BY {_keys[nameof(EnvelopeKeyRow.Id)]}", cancellationToken);

    public Task VisitAsync(RingFilter filter, Action restart, Action<KeyRingEntry> visit, CancellationToken cancellationToken)
        => RunAsync(async (connection, outer) =>
        {
            // A census or a job takes as long as it takes. A confirmation keeps every save and opening of the process waiting.
            if (filter.ChangedSince is not null || outer is not null || connection is not Npgsql.NpgsqlConnection)
            {
                await VisitAsync(connection, outer).ConfigureAwait(false);
                return true;
            }

            var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
            await using (transaction.ConfigureAwait(false))
            {
                await TableSql.ExecuteAsync(connection, transaction, _ => Sql.NoTimeouts(connection), cancellationToken).ConfigureAwait(false);
                await VisitAsync(connection, transaction).ConfigureAwait(false);
                return true;
            }

            async Task VisitAsync(DbConnection connection, DbTransaction? transaction)
            {
                restart();
                using var command = Command(connection, transaction);
                command.CommandText = $"SELECT {_keys.Columns(KeyRows.Columns)} FROM {_keys.Name} WHERE {Where(command, filter)}";
                command.CommandTimeout = filter.ChangedSince is null ? 0 : command.CommandTimeout;
                using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
                {
                    visit(KeyRows.Read(reader, _keys));
                }
            }
        }, cancellationToken, repeatsTimeouts: filter.ChangedSince is null);

    /// <param name="command">Takes the parameters.</param>
    /// <param name="filter">Which rows.</param>
    /// <param name="inIdOrder">Whether the rows are read along the primary key: SQLite would choose the index of keks, and sort all of a kek's rows for each page.</param>
    private string Where(DbCommand command, RingFilter filter, bool inIdOrder = false)
    {
        var column = (inIdOrder && command is not Npgsql.NpgsqlCommand ? "+" : "") + _keys[nameof(EnvelopeKeyRow.KekId)];
        var conditions = new List<string> { "1 = 1" };
        if (filter.IsRowKey)
        {
            conditions.Add($"{column} IS NOT NULL");
        }

        if (filter.IsScopeKey)
        {
            conditions.Add($"{column} IS NULL");
        }

        if (filter.KekIds is { } keks)
        {
            conditions.Add($"{column} IN ({string.Join(", ", keks.Select(kek => _keys.Add(command, nameof(EnvelopeKeyRow.KekId), kek)))})");
        }

        if (filter.State is { } state)
        {
            conditions.Add($"{_keys[nameof(EnvelopeKeyRow.State)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.State), (int)state)}");
        }

        if (filter.ChangedSince is { } epoch)
        {
            conditions.Add($"{_keys[nameof(EnvelopeKeyRow.ChangedEpoch)]} > {_keys.Add(command, nameof(EnvelopeKeyRow.ChangedEpoch), epoch)}");
        }

        return string.Join(" AND ", conditions);
    }

    /// <summary>The epoch of the last change of a key, or of any retired one; a row key under a kek that is retired stopped with that.</summary>
    public Task<long> FindLastChangeAsync(Guid? id, CancellationToken cancellationToken)
        => RunAsync(async (connection, outer) =>
        {
            if (outer is not null || connection is not Npgsql.NpgsqlConnection)
            {
                return await AskAsync(connection, outer).ConfigureAwait(false);
            }

            var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
            await using (transaction.ConfigureAwait(false))
            {
                await TableSql.ExecuteAsync(connection, transaction, _ => Sql.NoTimeouts(connection), cancellationToken).ConfigureAwait(false);
                return await AskAsync(connection, transaction).ConfigureAwait(false);
            }

            async Task<long> AskAsync(DbConnection connection, DbTransaction? transaction)
            {
                using var command = Command(connection, transaction);

                // May go through all row keys that are retired.
                command.CommandTimeout = 0;
                var (state, kek) = (_keys[nameof(EnvelopeKeyRow.State)], _keys[nameof(EnvelopeKeyRow.KekId)]);
                var which = id is { } key
                    ? $"k.{_keys[nameof(EnvelopeKeyRow.Id)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.Id), key)}"
                    : $"k.{state} IN ({States(KeyState.Deactivated, KeyState.Compromised, KeyState.Revoked, KeyState.PendingDestruction)}) AND (k.{kek} IS NULL OR k.{kek} IN (SELECT p.{_keys[nameof(EnvelopeKeyRow.Id)]} FROM {_keys.Name} AS p WHERE p.{kek} IS NULL AND p.{state} = {States(KeyState.Active)}))";
                command.CommandText = $"SELECT COALESCE(MAX(k.{_keys[nameof(EnvelopeKeyRow.ChangedEpoch)]}), 0) FROM {_keys.Name} AS k WHERE {which}";
                return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false), System.Globalization.CultureInfo.InvariantCulture);

                string States(params KeyState[] states) => string.Join(", ", states.Select(s => _keys.Add(command, nameof(EnvelopeKeyRow.State), (int)s)));
            }
        }, cancellationToken, repeatsTimeouts: false);

    private static TableSql Table(IModel model, Type type, ISqlGenerationHelper sql)
        => new(
            model.FindEntityType(type) ?? throw new EnvelopeConfigurationException(
                "The model does not hold the key ring's tables. Call modelBuilder.UseEnvelopeEncryption() last in OnModelCreating, or UseEnvelopeEncryption(...) on the context's options; a compiled model must be generated again."),
            sql);

    private Task<IReadOnlyList<KeyRingEntry>> QueryAsync(Func<DbCommand, string> where, CancellationToken cancellationToken)
        => QueryChunksAsync([0], (command, _) => where(command), cancellationToken);

    private Task<IReadOnlyList<KeyRingEntry>> QueryChunksAsync<T>(IReadOnlyCollection<T> values, Func<DbCommand, T[], string> where, CancellationToken cancellationToken, bool repeatsTimeouts = true, bool isOfPrimary = false)
        => RunAsync<IReadOnlyList<KeyRingEntry>>(async (connection, transaction) =>
        {
            var entries = new List<KeyRingEntry>(values.Count);
            foreach (var chunk in values.Chunk(ChunkSize))
            {
                using var command = Command(connection, transaction);
                command.CommandText = $"SELECT {_keys.Columns(KeyRows.Columns)}{(isOfPrimary ? InRecovery(connection) : "")} FROM {_keys.Name} WHERE {where(command, chunk)}";
                using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
                {
                    entries.Add(IsStandby(reader, KeyRows.Columns.Length) ? throw KeyRing.OfStandby() : KeyRows.Read(reader, _keys));
                }
            }

            return entries;
        }, cancellationToken, repeatsTimeouts);

    /// <summary>One column more, which says whether a standby answers: with several hosts in a connection string any connection may lead to one.</summary>
    private static string InRecovery(DbConnection connection) => connection is Npgsql.NpgsqlConnection ? ", pg_is_in_recovery()" : "";

    private static bool IsStandby(DbDataReader reader, int ordinal) => reader.FieldCount > ordinal && reader.GetBoolean(ordinal);

    private static DbCommand Command(DbConnection connection, DbTransaction? transaction)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        return command;
    }

    /// <summary>
    /// Connects outside of any ambient transaction; a transient error on the ring's own connection is tried again, a time-out unless others wait for the answer. Errors of the caller's connection stay as they are: they are the data's, and the caller's execution strategy judges them.
    /// </summary>
    /// <param name="work">What is done.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    /// <param name="repeatsTimeouts">Whether it is tried again after a time-out too. A confirmation, which keeps every save and opening of the process waiting, is not.</param>
    public async Task<T> RunAsync<T>(Func<DbConnection, DbTransaction?, Task<T>> work, CancellationToken cancellationToken, bool repeatsTimeouts = true)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var suppress = _connection.IsCallers ? null : new TransactionScope(TransactionScopeOption.Suppress, TransactionScopeAsyncFlowOption.Enabled);
                var lease = await _connection.OpenAsync(cancellationToken).ConfigureAwait(false);
                await using (lease.ConfigureAwait(false))
                {
                    var result = await work(lease.Connection, lease.Transaction).ConfigureAwait(false);
                    suppress?.Complete();
                    return result;
                }
            }
            catch (DbException error) when (RingErrors.IsMissingJson(error))
            {
                throw RingErrors.MissingJson(error);
            }
            catch (DbException error) when (RingErrors.IsMissingTable(error) || RingErrors.IsMissingColumn(error))
            {
                throw new EnvelopeConfigurationException(
                    $"The database has no key ring: table {_keys.PlainName} or {_ring.PlainName} is missing, or lacks a column. Add a migration (`dotnet ef migrations add AddEnvelopeKeyRing`) and apply it, or call EnsureCreated on a new database. Nothing was written.", error);
            }
            catch (DbException error) when (attempt < MaxAttempts && error.IsTransient && !_connection.IsCallers && (repeatsTimeouts || !RingErrors.IsTimeout(error)))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50 * attempt * attempt), cancellationToken).ConfigureAwait(false);
            }
            catch (Exception error) when (!_connection.IsCallers && (error is DbException or TimeoutException or System.Net.Sockets.SocketException or System.IO.IOException))
            {
                throw new KeyUnavailableException($"The key ring cannot be read or written ({error.GetType().Name}): {RingErrors.Describe(error)} Held keys open on up to their stated age; nothing was written.", error) { IsRingOutOfReach = RingErrors.IsOutOfReach(error) };
            }
        }
    }

    /// <summary>The names of a model's ring tables, found once.</summary>
    private sealed record RingTables(TableSql Ring, TableSql Keys);
}

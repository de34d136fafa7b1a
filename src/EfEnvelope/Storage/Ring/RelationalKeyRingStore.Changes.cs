using System.Data.Common;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Storage.Ring;

/// <content>What writes. Every change of a key that may be held already raises the ring's epoch first, and so locks the ring's row.</content>
internal sealed partial class RelationalKeyRingStore
{
    /// <summary>Rows of one INSERT: 20 parameters each, far below every provider's limit.</summary>
    private const int InsertChunk = 200;

    /// <summary>How far an import raises the epoch: more changes than a running process can have seen since the export.</summary>
    private const long ImportedEpochs = 1_000_000;

    public Task<bool> TryTakeOverAsync(RingIdentity identity, KeyRingEntry macKey, CancellationToken cancellationToken)
        => RunInTransactionAsync(async (connection, transaction) =>
        {
            await InsertIdentityAsync(connection, transaction, identity, cancellationToken).ConfigureAwait(false);
            using (var replace = Command(connection, transaction))
            {
                var id = _ring.Add(replace, nameof(EnvelopeRingRow.RingId), identity.Id);
                replace.CommandText = $"UPDATE {_ring.Name} SET {_ring[nameof(EnvelopeRingRow.RingId)]} = {id}, {_ring[nameof(EnvelopeRingRow.Salt)]} = {_ring.Add(replace, nameof(EnvelopeRingRow.Salt), identity.Salt)} WHERE {_ring[nameof(EnvelopeRingRow.RingId)]} = {id} OR NOT EXISTS (SELECT 1 FROM {_keys.Name})";
                await replace.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
            }

            using (var raise = Command(connection, transaction))
            {
                var epoch = _ring[nameof(EnvelopeRingRow.Epoch)];
                var least = _ring.Add(raise, nameof(EnvelopeRingRow.Epoch), identity.Epoch);
                raise.CommandText = $"UPDATE {_ring.Name} SET {epoch} = CASE WHEN {epoch} < {least} THEN {least} ELSE {epoch} END + {ImportedEpochs} WHERE {_ring[nameof(EnvelopeRingRow.RingId)]} = {_ring.Add(raise, nameof(EnvelopeRingRow.RingId), identity.Id)}";
                if (await raise.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false) == 0)
                {
                    return false;
                }
            }

            await InsertAsync(connection, transaction, [macKey], _ => 0, cancellationToken).ConfigureAwait(false);
            return true;
        }, cancellationToken);

    public Task<int> TryInsertAsync(IReadOnlyCollection<KeyRingEntry> entries, CancellationToken cancellationToken)
        => InsertAllAsync(entries, isRestored: false, FindLivingAsync, cancellationToken);

    public Task<int> RestoreAsync(IReadOnlyCollection<KeyRingEntry> entries, Func<KeyRingEntry, KeyRingEntry> retire, CancellationToken cancellationToken)
        => InsertAllAsync(entries, isRestored: true, (connection, transaction, all, token) => RetireFollowedAsync(connection, transaction, all, retire, token), cancellationToken);

    public Task<bool> TryUpdateAsync(KeyRingEntry entry, CancellationToken cancellationToken)
        => RunInTransactionAsync(async (connection, transaction) =>
        {
            var epoch = await RaiseEpochAsync(connection, transaction, cancellationToken).ConfigureAwait(false);
            return await UpdateAsync(connection, transaction, entry, epoch, cancellationToken).ConfigureAwait(false);
        }, cancellationToken);

    public Task<bool> TryChangeAsync(IReadOnlyCollection<KeyRingEntry> inserted, IReadOnlyCollection<KeyRingEntry> changed, CancellationToken cancellationToken)
        => ChangeAsync(async (connection, transaction, epoch) =>
        {
            if ((await FindLivingAsync(connection, transaction, inserted, cancellationToken).ConfigureAwait(false)).Count < inserted.Count)
            {
                return false;
            }

            foreach (var chunk in inserted.Chunk(InsertChunk))
            {
                if (await InsertAsync(connection, transaction, chunk, _ => epoch, cancellationToken).ConfigureAwait(false) < chunk.Length)
                {
                    return false;
                }
            }

            foreach (var entry in changed)
            {
                if (!await UpdateAsync(connection, transaction, entry, epoch, cancellationToken).ConfigureAwait(false))
                {
                    return false;
                }
            }

            return true;
        }, cancellationToken);

    /// <summary>A change under a new epoch, in one commit; nothing is written where it answers false.</summary>
    public Task<bool> ChangeAsync(Func<DbConnection, DbTransaction, long, Task<bool>> change, CancellationToken cancellationToken)
        => RunAsync(async (connection, outer) =>
        {
            if (outer is not null)
            {
                throw new EnvelopeConfigurationException("Keys cannot be changed inside an open transaction of this connection: commit it first, or use another context. Nothing was changed.");
            }

            var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
            await using (transaction.ConfigureAwait(false))
            {
                var epoch = await RaiseEpochAsync(connection, transaction, cancellationToken).ConfigureAwait(false);
                if (!await change(connection, transaction, epoch).ConfigureAwait(false))
                {
                    return false;
                }

                await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
                return true;
            }
        }, cancellationToken);

    /// <param name="entries">The rows.</param>
    /// <param name="isRestored">Whether they come back from an export: each is a change that others are to hear of.</param>
    /// <param name="choose">Says what is inserted of them, while the ring's row is locked.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    private Task<int> InsertAllAsync(
        IReadOnlyCollection<KeyRingEntry> entries, bool isRestored, Func<DbConnection, DbTransaction?, IReadOnlyCollection<KeyRingEntry>, CancellationToken, Task<IReadOnlyCollection<KeyRingEntry>>> choose, CancellationToken cancellationToken)
        => RunInTransactionAsync(async (connection, transaction) =>
        {
            var (epoch, due) = (0L, entries);

            // A key that comes back is news, its first version too: whoever was counted before it was is counted no longer.
            var isRaised = isRestored || entries.Any(e => e.Version > 1);
            if (isRaised || entries.Any(IsFirstOfScope))
            {
                epoch = isRaised ? await RaiseEpochAsync(connection, transaction, cancellationToken).ConfigureAwait(false) : await LockRingAsync(connection, transaction, cancellationToken).ConfigureAwait(false);
                due = await choose(connection, transaction, entries, cancellationToken).ConfigureAwait(false);
            }

            var inserted = 0;
            foreach (var chunk in due.Chunk(InsertChunk))
            {
                inserted += await InsertAsync(connection, transaction, chunk, e => isRestored || e.Version > 1 ? epoch : 0, cancellationToken).ConfigureAwait(false);
            }

            return inserted;
        }, cancellationToken);

    /// <summary>A key that seals values, or wraps row keys, or is about to.</summary>
    private static bool IsSealing(KeyRingEntry entry) => entry is { Purpose: KeyPurpose.Field or KeyPurpose.Kek, State: KeyState.Active or KeyState.PreActive };

    /// <summary>The rows as they are inserted: of those that seal while the ring holds a newer version, or one that seals, what <paramref name="retire"/> makes of them.</summary>
    private async Task<IReadOnlyCollection<KeyRingEntry>> RetireFollowedAsync(
        DbConnection connection, DbTransaction? transaction, IReadOnlyCollection<KeyRingEntry> entries, Func<KeyRingEntry, KeyRingEntry> retire, CancellationToken cancellationToken)
    {
        var present = new Dictionary<(string Scope, KeyPurpose Purpose), int>();
        foreach (var chunk in entries.Where(IsSealing).Select(e => e.Scope).Distinct(StringComparer.Ordinal).Chunk(ChunkSize))
        {
            using var command = Command(connection, transaction);
            command.CommandText = $"SELECT {_keys.Columns(nameof(EnvelopeKeyRow.Scope), nameof(EnvelopeKeyRow.Purpose), nameof(EnvelopeKeyRow.Version), nameof(EnvelopeKeyRow.State))} FROM {_keys.Name} WHERE {_keys.In(command, nameof(EnvelopeKeyRow.Scope), chunk)}";
            using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                var at = (_keys.Read<string>(reader, 0, nameof(EnvelopeKeyRow.Scope)), (KeyPurpose)_keys.Read<int>(reader, 1, nameof(EnvelopeKeyRow.Purpose)));
                var version = (KeyState)_keys.Read<int>(reader, 3, nameof(EnvelopeKeyRow.State)) == KeyState.Active ? int.MaxValue : _keys.Read<int>(reader, 2, nameof(EnvelopeKeyRow.Version));
                present[at] = Math.Max(version, present.GetValueOrDefault(at));
            }
        }

        return [.. entries.Select(e => IsSealing(e) && e.Version < present.GetValueOrDefault((e.Scope, e.Purpose)) ? retire(e) : e)];
    }

    /// <summary>A scope's first data key or kek, which holds nothing yet; the ring's own mac key goes with the ring, a row's key with its row.</summary>
    private static bool IsFirstOfScope(KeyRingEntry entry) => entry is { Version: 1, KekId: null, Purpose: KeyPurpose.Field or KeyPurpose.Kek };

    /// <summary>
    /// The new versions whose scope is not erased, and whose kek is active; first keys of scopes that are not erased - all that such a scope had may have been keys of the other purpose -; and all other first versions. Asked while the
    /// ring's row is locked, which every change of a key locks first: what the maker of the new ones had read may be old, this is not.
    /// </summary>
    private async Task<IReadOnlyCollection<KeyRingEntry>> FindLivingAsync(DbConnection connection, DbTransaction? transaction, IReadOnlyCollection<KeyRingEntry> entries, CancellationToken cancellationToken)
    {
        var keks = new HashSet<Guid>();
        foreach (var chunk in entries.Where(e => e.Version > 1).Select(e => e.KekId).OfType<Guid>().Distinct().Chunk(ChunkSize))
        {
            using var command = Command(connection, transaction);
            command.CommandText = $"SELECT {_keys[nameof(EnvelopeKeyRow.Id)]} FROM {_keys.Name} WHERE {_keys.In(command, nameof(EnvelopeKeyRow.Id), chunk)} AND {_keys[nameof(EnvelopeKeyRow.State)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.State), (int)KeyState.Active)}";
            using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                keks.Add(_keys.Read<Guid>(reader, 0, nameof(EnvelopeKeyRow.Id)));
            }
        }

        var known = new HashSet<string>(StringComparer.Ordinal);
        var living = new HashSet<(string Scope, KeyPurpose Purpose)>();
        foreach (var chunk in entries.Where(e => e.KekId is null && (e.Version > 1 || IsFirstOfScope(e))).Select(e => e.Scope).Distinct(StringComparer.Ordinal).Chunk(ChunkSize))
        {
            using var command = Command(connection, transaction);
            command.CommandText = $"SELECT {_keys.Columns(nameof(EnvelopeKeyRow.Scope), nameof(EnvelopeKeyRow.Purpose), nameof(EnvelopeKeyRow.State))} FROM {_keys.Name} WHERE {_keys.In(command, nameof(EnvelopeKeyRow.Scope), chunk)}";
            using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                var (scope, purpose) = (_keys.Read<string>(reader, 0, nameof(EnvelopeKeyRow.Scope)), (KeyPurpose)_keys.Read<int>(reader, 1, nameof(EnvelopeKeyRow.Purpose)));
                if (purpose is KeyPurpose.Field or KeyPurpose.Kek)
                {
                    known.Add(scope);
                }

                if (_keys.Read<int>(reader, 2, nameof(EnvelopeKeyRow.State)) != (int)KeyState.Destroyed)
                {
                    living.Add((scope, purpose));
                }
            }
        }

        return [.. entries.Where(IsLiving)];

        bool IsLiving(KeyRingEntry entry)
            => entry.Version > 1 ? entry.KekId is { } kek ? keks.Contains(kek) : living.Contains((entry.Scope, entry.Purpose))
            : !IsFirstOfScope(entry) || !known.Contains(entry.Scope) || living.Contains((entry.Scope, KeyPurpose.Field)) || living.Contains((entry.Scope, KeyPurpose.Kek));
    }

    /// <summary>Inserts rows by one statement; those that exist are left as they are.</summary>
    private async Task<int> InsertAsync(DbConnection connection, DbTransaction? transaction, KeyRingEntry[] entries, Func<KeyRingEntry, long> epoch, CancellationToken cancellationToken)
    {
        using var command = Command(connection, transaction);
        var rows = entries.Select(entry =>
            $"({string.Join(", ", KeyRows.Columns.Select(column => _keys.Add(command, column, KeyRows.Value(entry, column))).Append(_keys.Add(command, nameof(EnvelopeKeyRow.ChangedEpoch), epoch(entry))))})").ToList();
        command.CommandText = $"INSERT INTO {_keys.Name} ({_keys.Columns([.. KeyRows.Columns, nameof(EnvelopeKeyRow.ChangedEpoch)])}) VALUES {string.Join(", ", rows)} ON CONFLICT DO NOTHING";
        return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task<bool> UpdateAsync(DbConnection connection, DbTransaction? transaction, KeyRingEntry entry, long epoch, CancellationToken cancellationToken)
    {
        using var command = Command(connection, transaction);
        var sets = KeyRows.Columns.Where(c => c != nameof(EnvelopeKeyRow.Id)).Select(column => $"{_keys[column]} = {_keys.Add(command, column, KeyRows.Value(entry, column))}").ToList();
        sets.Add($"{_keys[nameof(EnvelopeKeyRow.ChangedEpoch)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.ChangedEpoch), epoch)}");
        command.CommandText = $"UPDATE {_keys.Name} SET {string.Join(", ", sets)} WHERE {_keys[nameof(EnvelopeKeyRow.Id)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.Id), entry.Id)} AND {_keys[nameof(EnvelopeKeyRow.Revision)]} = {_keys.Add(command, nameof(EnvelopeKeyRow.Revision), entry.Revision - 1)}";
        return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false) == 1;
    }

    private async Task<bool> InsertIdentityAsync(DbConnection connection, DbTransaction? transaction, RingIdentity identity, CancellationToken cancellationToken)
    {
        using var command = Command(connection, transaction);
        var values = new[]
        {
            _ring.Add(command, nameof(EnvelopeRingRow.Slot), 1),
            _ring.Add(command, nameof(EnvelopeRingRow.RingId), identity.Id),
            _ring.Add(command, nameof(EnvelopeRingRow.Salt), identity.Salt),
            _ring.Add(command, nameof(EnvelopeRingRow.Epoch), identity.Epoch),
            _ring.Add(command, nameof(EnvelopeRingRow.SealingLeaseTicks), identity.SealingLease.Ticks),
        };
        command.CommandText = $"INSERT INTO {_ring.Name} ({_ring.Columns(nameof(EnvelopeRingRow.Slot), nameof(EnvelopeRingRow.RingId), nameof(EnvelopeRingRow.Salt), nameof(EnvelopeRingRow.Epoch), nameof(EnvelopeRingRow.SealingLeaseTicks))}) VALUES ({string.Join(", ", values)}) ON CONFLICT DO NOTHING";
        return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false) == 1;
    }

    /// <summary>The ring's row is locked until the transaction ends, so epochs are in commit order.</summary>
    private Task<long> RaiseEpochAsync(DbConnection connection, DbTransaction? transaction, CancellationToken cancellationToken) => UpdateEpochAsync(connection, transaction, 1, cancellationToken);

    /// <summary>The ring's row is locked until the transaction ends, and nobody has anything to read anew.</summary>
    private async Task<long> LockRingAsync(DbConnection connection, DbTransaction? transaction, CancellationToken cancellationToken)
    {
        await UpdateEpochAsync(connection, transaction, 0, cancellationToken).ConfigureAwait(false);
        return 0;
    }

    private async Task<long> UpdateEpochAsync(DbConnection connection, DbTransaction? transaction, int by, CancellationToken cancellationToken)
    {
        using (var update = Command(connection, transaction))
        {
            update.CommandText = $"UPDATE {_ring.Name} SET {_ring[nameof(EnvelopeRingRow.Epoch)]} = {_ring[nameof(EnvelopeRingRow.Epoch)]} + {by.ToString(System.Globalization.CultureInfo.InvariantCulture)}";
            await update.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
        }

        using var select = Command(connection, transaction);
        select.CommandText = $"SELECT {_ring[nameof(EnvelopeRingRow.Epoch)]} FROM {_ring.Name}";
        return Convert.ToInt64(await select.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false), System.Globalization.CultureInfo.InvariantCulture);
    }

    private Task<T> RunInTransactionAsync<T>(Func<DbConnection, DbTransaction?, Task<T>> work, CancellationToken cancellationToken)
        => RunAsync(async (connection, outer) =>
        {
            if (outer is not null)
            {
                return await work(connection, outer).ConfigureAwait(false);
            }

            var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
            await using (transaction.ConfigureAwait(false))
            {
                var result = await work(connection, transaction).ConfigureAwait(false);
                await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
                return result;
            }
        }, cancellationToken);
}

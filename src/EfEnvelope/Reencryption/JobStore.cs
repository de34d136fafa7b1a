using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>The durable state of jobs: units are claimed, checkpointed and given back here, so that a killed worker's unit goes on where its last committed batch ended.</summary>
internal sealed class JobStore
{
    private const int Open = 0;
    internal const int Claimed = 1;
    internal const int Finished = 2;

    private readonly TableSql _jobs;
    private readonly TableSql _units;
    private readonly TimeProvider _time;

    public JobStore(EnvelopeSession session)
    {
        var sql = session.Context.GetService<ISqlGenerationHelper>();
        var model = session.Context.Model;
        _jobs = new TableSql(model.FindEntityType(typeof(EnvelopeJobRow))!, sql);
        _units = new TableSql(model.FindEntityType(typeof(EnvelopeJobUnitRow))!, sql);
        _time = session.Runtime.TimeProvider;
    }

    private long Now => _time.GetUtcNow().UtcTicks;

    /// <summary>The newest job that is not finished, that is to move all of these keys, and whose tables are known: what a killed process left behind, or what another one works on.</summary>
    private async Task<Guid?> FindUnfinishedAsync(DbConnection connection, DbTransaction? transaction, JobPlan plan, IReadOnlyDictionary<string, string> known, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = $"SELECT {_jobs.Columns(nameof(EnvelopeJobRow.Id), nameof(EnvelopeJobRow.Plan))} FROM {_jobs.Name} WHERE {_jobs[nameof(EnvelopeJobRow.State)]} <> {Finished} ORDER BY {_jobs[nameof(EnvelopeJobRow.CreatedAt)]} DESC";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (JsonSerializer.Deserialize<JobPlan>(reader.GetString(1))!.Covers(plan, known))
            {
                return _jobs.Read<Guid>(reader, 0, nameof(EnvelopeJobRow.Id));
            }
        }

        return null;
    }

    /// <summary>All jobs, finished ones too.</summary>
    public async Task<HashSet<Guid>> ListAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {_jobs.Columns(nameof(EnvelopeJobRow.Id))} FROM {_jobs.Name}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var ids = new HashSet<Guid>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            ids.Add(_jobs.Read<Guid>(reader, 0, nameof(EnvelopeJobRow.Id)));
        }

        return ids;
    }

    /// <summary>Records a job, unless another process was faster with the same: then it is joined. Null when there is nothing to record.</summary>
    /// <param name="connection">Where the job's tables stand.</param>
    /// <param name="plan">What is to be done.</param>
    /// <param name="known">The shape of every table that this context's job can work on, by name.</param>
    /// <param name="units">Its units.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    public async Task<Guid?> JoinOrCreateAsync(DbConnection connection, JobPlan plan, IReadOnlyDictionary<string, string> known, IReadOnlyList<JobUnit> units, CancellationToken cancellationToken)
    {
        var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            if (connection is Npgsql.NpgsqlConnection)
            {
                await TableSql.ExecuteAsync(connection, transaction, _ => $"LOCK TABLE {_jobs.Name} IN SHARE ROW EXCLUSIVE MODE", cancellationToken).ConfigureAwait(false);
            }

            if (await FindUnfinishedAsync(connection, transaction, plan, known, cancellationToken).ConfigureAwait(false) is { } other)
            {
                return other;
            }

            if (units.Count == 0)
            {
                return null;
            }

            var jobId = Guid.NewGuid();
            plan = plan with { Tables = units.Select(u => u.Table).Distinct(StringComparer.Ordinal).ToDictionary(t => t, t => known[t], StringComparer.Ordinal) };
            await TableSql.ExecuteAsync(connection, transaction, command => _jobs.Insert(command, (nameof(EnvelopeJobRow.Id), jobId), (nameof(EnvelopeJobRow.State), Open), (nameof(EnvelopeJobRow.CreatedAt), Now), (nameof(EnvelopeJobRow.Plan), JsonSerializer.Serialize(plan))), cancellationToken).ConfigureAwait(false);
            await AddUnitsAsync(connection, transaction, jobId, units, cancellationToken).ConfigureAwait(false);
            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
            return jobId;
        }
    }

    /// <summary>
    /// Claims an open unit, one that this worker lost hold of, or one whose worker's lease is over by the database's clock; null when there is none. The fencing token shuts the former owner out.
    /// </summary>
    public async Task<JobUnit?> ClaimAsync(DbConnection connection, Guid jobId, string owner, TimeSpan lease, CancellationToken cancellationToken)
    {
        var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            JobUnit? unit = null;
            using (var command = connection.CreateCommand())
            {
                command.Transaction = transaction;
                var state = _units[nameof(EnvelopeJobUnitRow.State)];
                command.CommandText =
                    $"SELECT {_units.Columns(nameof(EnvelopeJobUnitRow.Ordinal), nameof(EnvelopeJobUnitRow.TableName), nameof(EnvelopeJobUnitRow.LowKey), nameof(EnvelopeJobUnitRow.HighKey), nameof(EnvelopeJobUnitRow.Checkpoint), nameof(EnvelopeJobUnitRow.FencingToken))} FROM {_units.Name} WHERE {_units[nameof(EnvelopeJobUnitRow.JobId)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.JobId), jobId)} AND ({state} = {Open} OR ({state} = {Claimed} AND ({_units[nameof(EnvelopeJobUnitRow.LeaseUntil)]} < {Clock(connection)} OR {_units[nameof(EnvelopeJobUnitRow.Owner)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.Owner), owner)}))) ORDER BY {_units[nameof(EnvelopeJobUnitRow.Ordinal)]} LIMIT 1{(connection is Npgsql.NpgsqlConnection ? " FOR UPDATE SKIP LOCKED" : "")}";
                using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                if (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
                {
                    unit = new JobUnit(reader.GetInt32(0), reader.GetString(1), Text(reader, 2), Text(reader, 3), Text(reader, 4), reader.GetInt64(5) + 1);
                }
            }

            if (unit is null)
            {
                return null;
            }

            await TableSql.ExecuteAsync(connection, transaction, command =>
                $"UPDATE {_units.Name} SET {_units.Set(command, (nameof(EnvelopeJobUnitRow.State), Claimed), (nameof(EnvelopeJobUnitRow.Owner), owner), (nameof(EnvelopeJobUnitRow.FencingToken), unit.FencingToken), (nameof(EnvelopeJobUnitRow.UpdatedAt), Now))}, {LeaseUntil(connection, lease)} WHERE {Unit(command, jobId, unit.Ordinal)}", cancellationToken).ConfigureAwait(false);
            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
            return unit;
        }
    }

    /// <summary>Writes the checkpoint in the batch's own transaction; false when the unit belongs to another worker by now, and the batch must be rolled back.</summary>
    public async Task<bool> CheckpointAsync(
        DbConnection connection, DbTransaction transaction, Guid jobId, JobUnit unit, string? checkpoint, bool finished, TimeSpan lease, long rows, long conflicts, long quarantined, CancellationToken cancellationToken)
        => await TableSql.ExecuteAsync(connection, transaction, command =>
        {
            var sets = _units.Set(command, (nameof(EnvelopeJobUnitRow.State), finished ? Finished : Claimed), (nameof(EnvelopeJobUnitRow.Checkpoint), checkpoint), (nameof(EnvelopeJobUnitRow.UpdatedAt), Now)) + ", " + LeaseUntil(connection, lease);
            foreach (var (column, count) in new[] { (nameof(EnvelopeJobUnitRow.Rows), rows), (nameof(EnvelopeJobUnitRow.Conflicts), conflicts), (nameof(EnvelopeJobUnitRow.Quarantined), quarantined) })
            {
                sets += $", {_units[column]} = {_units[column]} + {_units.Add(command, column, count)}";
            }

            return $"UPDATE {_units.Name} SET {sets} WHERE {Unit(command, jobId, unit.Ordinal)} AND {_units[nameof(EnvelopeJobUnitRow.FencingToken)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.FencingToken), unit.FencingToken)}";
        }, cancellationToken).ConfigureAwait(false) == 1;

    /// <summary>Prolongs the lease of a unit that the worker still owns.</summary>
    public Task RenewAsync(DbConnection connection, Guid jobId, JobUnit unit, TimeSpan lease, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, null, command =>
            $"UPDATE {_units.Name} SET {_units.Set(command, (nameof(EnvelopeJobUnitRow.UpdatedAt), Now))}, {LeaseUntil(connection, lease)} WHERE {Unit(command, jobId, unit.Ordinal)} AND {_units[nameof(EnvelopeJobUnitRow.State)]} = {Claimed} AND {_units[nameof(EnvelopeJobUnitRow.FencingToken)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.FencingToken), unit.FencingToken)}", cancellationToken);

    /// <summary>Opens a claimed unit again, with the checkpoint that it has, unless another worker owns it by now.</summary>
    public Task GiveBackAsync(DbConnection connection, Guid jobId, JobUnit unit, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, null, command =>
            $"UPDATE {_units.Name} SET {_units.Set(command, (nameof(EnvelopeJobUnitRow.State), Open), (nameof(EnvelopeJobUnitRow.UpdatedAt), Now))} WHERE {Unit(command, jobId, unit.Ordinal)} AND {_units[nameof(EnvelopeJobUnitRow.State)]} = {Claimed} AND {_units[nameof(EnvelopeJobUnitRow.FencingToken)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.FencingToken), unit.FencingToken)}", cancellationToken);

    /// <summary>
    /// Ends what former runs left behind and nobody works on, as of when it was last worked on: for whoever proved that no cell names a stale key any more. Somebody who finished a unit within its lease may be about to claim another.
    /// </summary>
    public Task<int> FinishLeftBehindAsync(DbConnection connection, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, null, command =>
        {
            string Units(string what, string where = "") => $"SELECT {what} FROM {_units.Name} AS u WHERE u.{_units[nameof(EnvelopeJobUnitRow.JobId)]} = {_jobs.Name}.{_jobs[nameof(EnvelopeJobRow.Id)]}{where}";
            var lastSeen = $"COALESCE(({Units($"MAX(u.{_units[nameof(EnvelopeJobUnitRow.UpdatedAt)]})")}), {_jobs[nameof(EnvelopeJobRow.CreatedAt)]})";
            var isWorkedOn = Units("1", $" AND u.{_units[nameof(EnvelopeJobUnitRow.State)]} <> {Open} AND u.{_units[nameof(EnvelopeJobUnitRow.LeaseUntil)]} >= {Clock(connection)}");
            return $"UPDATE {_jobs.Name} SET {_jobs.Set(command, (nameof(EnvelopeJobRow.State), Finished))}, {_jobs[nameof(EnvelopeJobRow.FinishedAt)]} = {lastSeen} WHERE {_jobs[nameof(EnvelopeJobRow.State)]} <> {Finished} AND NOT EXISTS ({isWorkedOn})";
        }, cancellationToken);

    public Task<int> FinishAsync(DbConnection connection, Guid jobId, string report, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, null, command =>
            $"UPDATE {_jobs.Name} SET {_jobs.Set(command, (nameof(EnvelopeJobRow.State), Finished), (nameof(EnvelopeJobRow.FinishedAt), Now), (nameof(EnvelopeJobRow.Report), report))} WHERE {_jobs[nameof(EnvelopeJobRow.Id)]} = {_jobs.Add(command, nameof(EnvelopeJobRow.Id), jobId)}", cancellationToken);

    /// <summary>Rows a second of the job that finished last, over all its workers; null where none did more than a thousand rows.</summary>
    public async Task<double?> FindRateAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        var (id, created, finished) = (_jobs[nameof(EnvelopeJobRow.Id)], _jobs[nameof(EnvelopeJobRow.CreatedAt)], _jobs[nameof(EnvelopeJobRow.FinishedAt)]);
        command.CommandText = $"SELECT SUM(u.{_units[nameof(EnvelopeJobUnitRow.Rows)]}), j.{finished} - j.{created} FROM {_jobs.Name} AS j JOIN {_units.Name} AS u ON u.{_units[nameof(EnvelopeJobUnitRow.JobId)]} = j.{id} WHERE j.{_jobs[nameof(EnvelopeJobRow.State)]} = {Finished} AND j.{finished} > j.{created} GROUP BY j.{id}, j.{finished}, j.{created} HAVING SUM(u.{_units[nameof(EnvelopeJobUnitRow.Rows)]}) >= 1000 ORDER BY j.{finished} DESC LIMIT 1";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        return await reader.ReadAsync(cancellationToken).ConfigureAwait(false)
            ? Convert.ToDouble(reader.GetValue(0), CultureInfo.InvariantCulture) / TimeSpan.FromTicks(reader.GetInt64(1)).TotalSeconds
            : null;
    }

    /// <summary>Whether every unit is done.</summary>
    public async Task<bool> IsDoneAsync(DbConnection connection, Guid jobId, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT COUNT(*) FROM {_units.Name} WHERE {_units[nameof(EnvelopeJobUnitRow.JobId)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.JobId), jobId)} AND {_units[nameof(EnvelopeJobUnitRow.State)]} <> {Finished}";
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false), CultureInfo.InvariantCulture) == 0;
    }

    /// <summary>What every process did to a job's units, killed ones too.</summary>
    public async Task<(long Rows, long Conflicts)> SumAsync(DbConnection connection, Guid jobId, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT COALESCE(SUM({_units[nameof(EnvelopeJobUnitRow.Rows)]}), 0), COALESCE(SUM({_units[nameof(EnvelopeJobUnitRow.Conflicts)]}), 0) FROM {_units.Name} WHERE {_units[nameof(EnvelopeJobUnitRow.JobId)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.JobId), jobId)}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        return (Convert.ToInt64(reader.GetValue(0), CultureInfo.InvariantCulture), Convert.ToInt64(reader.GetValue(1), CultureInfo.InvariantCulture));
    }

    private async Task AddUnitsAsync(DbConnection connection, DbTransaction transaction, Guid jobId, IReadOnlyList<JobUnit> units, CancellationToken cancellationToken)
    {
        foreach (var unit in units)
        {
            await TableSql.ExecuteAsync(connection, transaction, command => _units.Insert(command, (nameof(EnvelopeJobUnitRow.JobId), jobId), (nameof(EnvelopeJobUnitRow.Ordinal), unit.Ordinal), (nameof(EnvelopeJobUnitRow.TableName), unit.Table), (nameof(EnvelopeJobUnitRow.LowKey), unit.LowKey), (nameof(EnvelopeJobUnitRow.HighKey), unit.HighKey),
                (nameof(EnvelopeJobUnitRow.State), Open), (nameof(EnvelopeJobUnitRow.LeaseUntil), 0L), (nameof(EnvelopeJobUnitRow.FencingToken), 0L), (nameof(EnvelopeJobUnitRow.Rows), 0L), (nameof(EnvelopeJobUnitRow.Conflicts), 0L), (nameof(EnvelopeJobUnitRow.Quarantined), 0L), (nameof(EnvelopeJobUnitRow.UpdatedAt), Now)), cancellationToken).ConfigureAwait(false);
        }
    }

    private string LeaseUntil(DbConnection connection, TimeSpan lease)
        => string.Create(CultureInfo.InvariantCulture, $"{_units[nameof(EnvelopeJobUnitRow.LeaseUntil)]} = {Clock(connection)} + {lease.Ticks}");

    /// <summary>The database's clock in ticks: workers on machines whose clocks differ must not take each other's units.</summary>
    internal static string Clock(DbConnection connection)
        => connection is Npgsql.NpgsqlConnection
            ? "(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 10000000 AS bigint) + 621355968000000000)"
            : "(CAST((julianday('now') - 1721425.5) * 86400000 AS INTEGER) * 10000)";

    private string Unit(DbCommand command, Guid jobId, int ordinal)
        => $"{_units[nameof(EnvelopeJobUnitRow.JobId)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.JobId), jobId)} AND {_units[nameof(EnvelopeJobUnitRow.Ordinal)]} = {_units.Add(command, nameof(EnvelopeJobUnitRow.Ordinal), ordinal)}";

    private static string? Text(DbDataReader reader, int ordinal) => reader.IsDBNull(ordinal) ? null : reader.GetString(ordinal);
}

/// <summary>A unit of work: a key range of a table.</summary>
internal sealed record JobUnit(int Ordinal, string Table, string? LowKey, string? HighKey, string? Checkpoint, long FencingToken);

/// <summary>What a job is to do, as its row records it: the keys by name, but for row keys, of which there may be millions; they are told by the keks that they are under.</summary>
internal sealed record JobPlan(Guid[] Keys, Guid[] Keks)
{
    /// <summary>The tables of the job's units, and their shape when it was recorded.</summary>
    public Dictionary<string, string>? Tables { get; init; }

    public static JobPlan Of(StaleKeys stale) => new(
        [.. stale.Entries.Select(e => e.Id)],
        [.. stale.RowKeys.Select(k => k.KekId).Distinct()]);

    /// <summary>
    /// Whether another plan's keys are all among this one's, and whoever knows these tables can work on its units: they may be another context's, or have been renamed or changed since. Where row keys were retired since, the
    /// passes that follow find them.
    /// </summary>
    public bool Covers(JobPlan other, IReadOnlyDictionary<string, string> known)
        => other.Keys.All(Keys.Contains) && other.Keks.All(Keks.Contains) && Tables is not null && Tables.All(t => known.TryGetValue(t.Key, out var shape) && shape == t.Value);
}

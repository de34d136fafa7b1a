using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>Reads what the job tables say of jobs and of those who work on them. Changes nothing.</summary>
internal sealed class JobListing
{
    private readonly TableSql _jobs;
    private readonly TableSql _units;

    public JobListing(EnvelopeSession session)
    {
        var sql = session.Context.GetService<ISqlGenerationHelper>();
        _jobs = new TableSql(session.Context.Model.FindEntityType(typeof(EnvelopeJobRow))!, sql);
        _units = new TableSql(session.Context.Model.FindEntityType(typeof(EnvelopeJobUnitRow))!, sql);
    }

    /// <summary>The newest jobs first.</summary>
    public async Task<List<ReencryptionJobInfo>> ReadAsync(DbConnection connection, DbTransaction? transaction, int most, CancellationToken cancellationToken)
    {
        var workers = (await ReadWorkersAsync(connection, transaction, cancellationToken).ConfigureAwait(false)).ToLookup(w => w.JobId, w => w.Worker);
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        var (id, created, unitState) = (_jobs[nameof(EnvelopeJobRow.Id)], _jobs[nameof(EnvelopeJobRow.CreatedAt)], _units[nameof(EnvelopeJobUnitRow.State)]);
        command.CommandText =
            $"""
            SELECT j.{id}, j.{_jobs[nameof(EnvelopeJobRow.State)]}, j.{created}, j.{_jobs[nameof(EnvelopeJobRow.FinishedAt)]}, j.{_jobs[nameof(EnvelopeJobRow.Plan)]},
                   u.n, u.done, u.r, u.c, u.q, u.beat
            FROM {_jobs.Name} AS j
            LEFT JOIN (SELECT {_units[nameof(EnvelopeJobUnitRow.JobId)]} AS job, COUNT(*) AS n, SUM(CASE WHEN {unitState} = {JobStore.Finished} THEN 1 ELSE 0 END) AS done, SUM({_units[nameof(EnvelopeJobUnitRow.Rows)]}) AS r,
                              SUM({_units[nameof(EnvelopeJobUnitRow.Conflicts)]}) AS c, SUM({_units[nameof(EnvelopeJobUnitRow.Quarantined)]}) AS q,
                              MAX(CASE WHEN {_units[nameof(EnvelopeJobUnitRow.Owner)]} IS NULL THEN NULL ELSE {_units[nameof(EnvelopeJobUnitRow.UpdatedAt)]} END) AS beat
                       FROM {_units.Name} GROUP BY {_units[nameof(EnvelopeJobUnitRow.JobId)]}) AS u ON u.job = j.{id}
            ORDER BY j.{created} DESC, j.{id} LIMIT {most.ToString(CultureInfo.InvariantCulture)}
            """;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var jobs = new List<ReencryptionJobInfo>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            var jobId = _jobs.Read<Guid>(reader, 0, nameof(EnvelopeJobRow.Id));
            var plan = JsonSerializer.Deserialize<JobPlan>(reader.GetString(4))!;
            var now = workers[jobId].ToList();
            jobs.Add(new ReencryptionJobInfo(
                jobId,
                reader.GetInt32(1) == JobStore.Finished ? ReencryptionJobState.Finished : now.Exists(w => w.IsAlive) ? ReencryptionJobState.Running : ReencryptionJobState.Waiting,
                Time(reader.GetInt64(2)), reader.IsDBNull(3) ? null : Time(reader.GetInt64(3)), [.. plan.Keys, .. plan.Keks],
                (int)Number(reader, 5), (int)Number(reader, 6), Number(reader, 7), Number(reader, 8), Number(reader, 9), reader.IsDBNull(10) ? null : Time(Number(reader, 10)), now));
        }

        return jobs;
    }

    private async Task<List<(Guid JobId, ReencryptionWorkerInfo Worker)>> ReadWorkersAsync(DbConnection connection, DbTransaction? transaction, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        var lease = _units[nameof(EnvelopeJobUnitRow.LeaseUntil)];
        command.CommandText =
            $"SELECT {_units.Columns(nameof(EnvelopeJobUnitRow.JobId), nameof(EnvelopeJobUnitRow.Owner), nameof(EnvelopeJobUnitRow.TableName), nameof(EnvelopeJobUnitRow.Ordinal), nameof(EnvelopeJobUnitRow.Rows), nameof(EnvelopeJobUnitRow.UpdatedAt), nameof(EnvelopeJobUnitRow.LeaseUntil))}, CASE WHEN {lease} >= {JobStore.Clock(connection)} THEN 1 ELSE 0 END FROM {_units.Name} WHERE {_units[nameof(EnvelopeJobUnitRow.State)]} = {JobStore.Claimed} ORDER BY {_units.Columns(nameof(EnvelopeJobUnitRow.Ordinal))}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var workers = new List<(Guid JobId, ReencryptionWorkerInfo Worker)>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            workers.Add((
                _units.Read<Guid>(reader, 0, nameof(EnvelopeJobUnitRow.JobId)),
                new ReencryptionWorkerInfo(reader.IsDBNull(1) ? "" : reader.GetString(1), reader.GetString(2), reader.GetInt32(3), reader.GetInt64(4), Time(reader.GetInt64(5)), Time(reader.GetInt64(6)), reader.GetInt32(7) == 1)));
        }

        return workers;
    }

    private static DateTimeOffset Time(long ticks) => new(ticks, TimeSpan.Zero);

    private static long Number(DbDataReader reader, int ordinal) => reader.IsDBNull(ordinal) ? 0 : Convert.ToInt64(reader.GetValue(ordinal), CultureInfo.InvariantCulture);
}

using System.Diagnostics;
using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Running;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>
/// G53, G54: the rate of the re-encryption job, from its first census to its last, as a part of what the database alone needs to write the same columns; beside the naive form, tracked entities and SaveChanges.
/// The ratio is of rates: 1 would be as fast as the one statement.
/// </summary>
internal sealed class ReencryptionScenario : IScenario
{
    private const int Workers = 2;

    public IEnumerable<Measurement> Measurements =>
    [
        new("G53", "reencrypt", "libsodium", Databases.Postgres, Bar.AtLeast(0.70), s => AgainstOneStatementAsync("libsodium", s)),
        new("G53", "reencrypt", "bcl", Databases.Postgres, Bar.AtLeast(0.55), s => AgainstOneStatementAsync("bcl", s)),
        new("G53", "reencrypt-to-tracked", "libsodium", Databases.Postgres, Bar.AtLeast(8), s => AgainstTrackedAsync("libsodium", s)),
        new("G53", "reencrypt", "libsodium", Databases.Sqlite, Bar.AtLeast(0.75), s => AgainstLoopAsync("libsodium", s)),
        new("G54", "reencrypt-10-fold", "libsodium", Databases.Postgres, Bar.AtLeast(0.90), s => TenfoldAsync("libsodium", s)),
    ];

    private static RunSettings Seven(RunSettings settings) => settings with { Rounds = 7, WarmUps = 1 };

    private static async Task<double> AgainstOneStatementAsync(string backend, RunSettings settings)
    {
        var deposits = await Deposits.CreateAsync(Databases.Postgres, backend, settings.IsQuick ? 100_000 : 1_000_000);
        var result = await new PairedRun(Seven(settings))
            .Add("job", async () => Check(await deposits.ReencryptAsync(Workers)), deposits.RotateAsync)
            .Add("one statement", () => deposits.ExecuteAsync("UPDATE \"Deposits\" SET \"Holder\" = \"Holder\" || '', \"Reference\" = \"Reference\" || ''"), deposits.CleanAsync)
            .RunAsync();
        return result.Ratio("one statement", "job");
    }

    private static async Task<double> AgainstTrackedAsync(string backend, RunSettings settings)
    {
        var deposits = await Deposits.CreateAsync(Databases.Postgres, backend, settings.IsQuick ? 20_000 : 100_000);
        var result = await new PairedRun(Seven(settings))
            .Add("job", async () => Check(await deposits.ReencryptAsync(Workers)), deposits.RotateAsync)
            .Add("tracked", () => TrackAsync(deposits), deposits.RotateAsync)
            .RunAsync();
        return result.Ratio("tracked", "job");
    }

    /// <summary>What an application without a job would write: pages of entities, every encrypted property marked modified.</summary>
    private static async Task TrackAsync(Deposits deposits)
    {
        var last = -1;
        while (true)
        {
            await using var context = deposits.CreateContext();
            var page = await context.Deposits.Where(d => d.Id > last).OrderBy(d => d.Id).Take(500).ToListAsync();
            if (page.Count == 0)
            {
                return;
            }

            foreach (var deposit in page)
            {
                context.Entry(deposit).Property(d => d.Holder).IsModified = true;
                context.Entry(deposit).Property(d => d.Reference).IsModified = true;
            }

            await context.SaveChangesAsync();
            last = page[^1].Id;
        }
    }

    private static async Task<double> AgainstLoopAsync(string backend, RunSettings settings)
    {
        var deposits = await Deposits.CreateAsync(Databases.Sqlite, backend, settings.IsQuick ? 20_000 : 200_000);
        var result = await new PairedRun(Seven(settings))
            .Add("job", async () => Check(await deposits.ReencryptAsync(1)), deposits.RotateAsync)
            .Add("loop without crypto", () => LoopAsync(deposits))
            .RunAsync();
        return result.Ratio("loop without crypto", "job");
    }

    /// <summary>The same batches, compare-and-set and commits, with cells that are written back as they were read.</summary>
    private static async Task LoopAsync(Deposits deposits)
    {
        await using var connection = new SqliteConnection(deposits.ConnectionString);
        await connection.OpenAsync();
        await using var select = connection.CreateCommand();
        select.CommandText = "SELECT \"Id\", \"Holder\", \"Reference\" FROM \"Deposits\" WHERE substr(\"Holder\", 4, 16) IS NOT NULL AND \"Id\" > @after ORDER BY \"Id\" LIMIT @count";
        var after = select.Parameters.Add("@after", SqliteType.Integer);
        select.Parameters.Add("@count", SqliteType.Integer).Value = new ReencryptionOptions().BatchSize;
        await using var update = connection.CreateCommand();
        update.CommandText = "UPDATE \"Deposits\" SET \"Holder\" = @h, \"Reference\" = @r WHERE \"Id\" = @id AND \"Holder\" = @oh AND \"Reference\" = @or";
        SqliteParameter[] parameters = [.. new[] { "@h", "@r", "@id", "@oh", "@or" }.Select(name => update.Parameters.Add(new SqliteParameter { ParameterName = name }))];
        after.Value = -1L;
        while (true)
        {
            var rows = new List<(long Id, byte[] Holder, byte[] Reference)>();
            await using (var reader = await select.ExecuteReaderAsync())
            {
                while (await reader.ReadAsync())
                {
                    rows.Add((reader.GetInt64(0), reader.GetFieldValue<byte[]>(1), reader.GetFieldValue<byte[]>(2)));
                }
            }

            if (rows.Count == 0)
            {
                return;
            }

            await using var transaction = (SqliteTransaction)await connection.BeginTransactionAsync();
            update.Transaction = transaction;
            foreach (var (id, holder, reference) in rows)
            {
                (parameters[0].Value, parameters[1].Value, parameters[2].Value, parameters[3].Value, parameters[4].Value) = (holder, reference, id, holder, reference);
                ArgumentOutOfRangeException.ThrowIfNotEqual(await update.ExecuteNonQueryAsync(), 1);
            }

            await transaction.CommitAsync();
            after.Value = rows[^1].Id;
        }
    }

    /// <summary>One run each: minutes long, so that noise evens out. The process's peak memory is told after both.</summary>
    private static async Task<double> TenfoldAsync(string backend, RunSettings settings)
    {
        var small = settings.IsQuick ? 100_000 : 1_000_000;
        var rates = new List<double>();
        foreach (var rows in new[] { small, 10 * small })
        {
            var deposits = await Deposits.CreateAsync(Databases.Postgres, backend, rows);
            await deposits.RotateAsync();
            var started = Stopwatch.GetTimestamp();
            Check(await deposits.ReencryptAsync(Workers));
            rates.Add(rows / Stopwatch.GetElapsedTime(started).TotalSeconds);
            using var process = Process.GetCurrentProcess();
            settings.Note($"{rows} rows: {rates[^1]:0} rows/s, peak memory of the process so far {process.PeakWorkingSet64 / (1024 * 1024)} MiB");
        }

        return rates[1] / rates[0];
    }

    private static void Check(ReencryptionReport report)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(report.Census.StaleCells, 0);
        ArgumentOutOfRangeException.ThrowIfNotEqual(report.Conflicts, 0);
    }
}

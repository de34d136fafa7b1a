using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.Reencryption;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>
/// Random interleavings of an application's writes and a job's steps, in one process. The job runs step by step: at each of its fault points (before it read, between its read and its write, inside its transaction,
/// after its commit) the application writes rows or does not; one such write is one interleaving. Half of the writes come from a second runtime, which goes on with the retired keys for as long as its lease lasts. After
/// each round every row is decrypted and compared with the oracle. The seed decides everything but what the database decides between two transactions that are open at once.
/// </summary>
internal sealed class Interleaver(Target target, int seed)
{
    private const long RowsOfAKind = 14;
    private const int WritesOfARound = 160;
    private static readonly string[] Kinds = ["Item", "Paper", "Card", "Ledger"];

    private readonly Random _random = new(seed);
    private readonly RowOracle _oracle = new(RowsOfAKind);
    private Application[] _applications = [];
    private Task? _background;
    private long _written;
    private int _left;

    /// <summary>Runs rounds until so many writes were interleaved.</summary>
    /// <exception cref="InvalidOperationException">A row does not hold the application's last write, or the job did not converge; names seed and round.</exception>
    public async Task<InterleaverResult> RunAsync(long interleavings, Action<long>? progress = null, CancellationToken cancellationToken = default)
    {
        await Loader.RunAsync(target, RowsOfAKind, tenants: 2, Kinds, cancellationToken);
        var late = new Target(target.Provider, target.ConnectionString, target.KeyFile, TimeSpan.FromSeconds(10));
        _applications =
        [
            new Application(target, _oracle, new WriteLog(null), Kinds, seed + 1, tenants: 2, index: 0, owners: 2),
            new Application(late, _oracle, new WriteLog(null), Kinds, seed + 2, tenants: 2, index: 1, owners: 2),
        ];
        long conflicts = 0;
        var rounds = 0;
        while (_written < interleavings)
        {
            await using (var context = target.CreateContext())
            {
                await Retirement.RotateAllAsync(context, "round", compromise: _random.Next(4) == 0);
                _left = WritesOfARound;
                conflicts += (await new EnvelopeKeys(context).ReencryptAsync(Options(TimeSpan.Zero, StepAsync), null, cancellationToken)).Conflicts;
            }

            await JoinAsync();
            rounds++;
            await CheckAsync(rounds, cancellationToken);
            progress?.Invoke(_written);
        }

        // The second runtime's lease may go on; its writes do not. Nothing is left under a retired key when the job says so.
        await using var last = target.CreateContext();
        var report = await new EnvelopeKeys(last).ReencryptAsync(Options(TimeSpan.FromMinutes(1), null), null, cancellationToken);
        await CheckAsync(rounds, cancellationToken);
        if (!report.IsProven || report.Census.StaleCells != 0 || report.Quarantined != 0)
        {
            throw new InvalidOperationException($"Seed {seed}: the last job left {report.Census.StaleCells} stale cell(s), {report.Quarantined} quarantined: {report.NotProvenBecause}.");
        }

        return new InterleaverResult(_written, rounds, conflicts);
    }

    private ReencryptionOptions Options(TimeSpan cutOff, Func<JobStep, ValueTask>? step)
        => new() { BatchSize = 1 + _random.Next(8), UnitSize = 100, DegreeOfParallelism = 1, UnitLease = TimeSpan.FromSeconds(60), CutOffTimeout = cutOff, FaultPoint = step };

    private async ValueTask StepAsync(JobStep step)
    {
        switch (step)
        {
            case JobStep.Read or JobStep.KeysLoaded:
                for (var n = _random.Next(4); n > 0; n--)
                {
                    await WriteAsync();
                }

                if (target.IsPostgres && _random.Next(8) == 0)
                {
                    await HoldAsync();
                }

                break;
            case JobStep.Written or JobStep.Checkpointed:
                // The rows of the batch are locked: who writes one of them waits for the commit. SQLite has one writer, who is the job.
                if (target.IsPostgres && _background is null && _left > 0 && _random.Next(3) == 0)
                {
                    var application = Any();
                    _background = Task.Run(async () => Count(await application.OperateAsync(1, CancellationToken.None)));
                }

                break;
            default:
                await JoinAsync();
                if (_random.Next(2) == 0)
                {
                    await WriteAsync();
                }

                break;
        }
    }

    /// <summary>A transaction of the application's that wrote, and is still open when the job comes to the row.</summary>
    private async Task HoldAsync()
    {
        await JoinAsync();
        if (_left <= 0)
        {
            return;
        }

        var locked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var application = Any();
        var pause = TimeSpan.FromMilliseconds(_random.Next(4));
        _background = Task.Run(async () =>
        {
            try
            {
                Count(await application.OperateAsync(1 + (pause.Milliseconds % 2), CancellationToken.None, async () =>
                {
                    locked.TrySetResult();
                    await Task.Delay(pause);
                }));
            }
            finally
            {
                locked.TrySetResult();
            }
        });
        await locked.Task;
    }

    private async Task WriteAsync()
    {
        await JoinAsync();
        if (_left > 0)
        {
            Count(await Any().OperateAsync(_random.Next(6) == 0 ? 3 : 1, CancellationToken.None));
        }
    }

    private void Count(int rows)
    {
        Interlocked.Add(ref _written, rows);
        Interlocked.Add(ref _left, -Math.Max(1, rows));
    }

    private async Task JoinAsync()
    {
        if (_background is { } background)
        {
            _background = null;
            await background;
        }
    }

    private Application Any() => _applications[_random.Next(_applications.Length)];

    private async Task CheckAsync(int round, CancellationToken cancellationToken)
    {
        var result = await Verifier.RunAsync(target, _oracle, Kinds, cancellationToken);
        var wrong = result.Wrong.Concat(_applications.SelectMany(a => a.Violations)).ToList();
        if (wrong.Count > 0)
        {
            throw new InvalidOperationException($"Seed {seed}, {target.Provider}, round {round}: {wrong.Count} row(s) do not hold the application's last write: {string.Join("; ", wrong.Take(10))}");
        }
    }
}

/// <param name="Interleavings">The application's rows that were written between two steps of the job, or inside one.</param>
/// <param name="Rounds">Rotations, each with a job.</param>
/// <param name="Conflicts">Rows that the job found changed under its hands.</param>
internal sealed record InterleaverResult(long Interleavings, int Rounds, long Conflicts);

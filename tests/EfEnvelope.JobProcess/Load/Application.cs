using System.Data.Common;
using EfEnvelope.JobProcess.Oracle;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.JobProcess.Load;

/// <summary>
/// The application: writes rows of its own numbers through EF (update, insert, delete, moved primary keys, several rows in a transaction, rolled-back ones), and tells the oracle. Not thread safe; several,
/// each with numbers of its own, may share an oracle.
/// </summary>
internal sealed class Application
{
    private readonly Target _target;
    private readonly RowOracle _oracle;
    private readonly WriteLog _log;
    private readonly IReadOnlyList<string> _kinds;
    private readonly Random _random;
    private readonly int _tenants;
    private readonly int _index;
    private readonly int _owners;
    private readonly IInterceptor[] _interceptors;
    private long _nextNew;

    public Application(Target target, RowOracle oracle, WriteLog log, IReadOnlyList<string> kinds, int seed, int tenants, int index, int owners, params IInterceptor[] interceptors)
    {
        (_target, _oracle, _log, _kinds, _tenants, _index, _owners, _interceptors) = (target, oracle, log, kinds, tenants, index, owners, interceptors);
        _random = new Random(seed);
        _nextNew = oracle.Rows - (oracle.Rows % owners) + owners + index;
        while (kinds.Any(kind => oracle.Committed(kind, _nextNew) is not null || oracle.Intended(kind, _nextNew) is not null))
        {
            _nextNew += owners;
        }
    }

    /// <summary>Rows written and committed.</summary>
    public long Writes { get; private set; }

    /// <summary>Rows whose outcome was seen only by reading them again: the connection or the server had gone, or the transaction was refused.</summary>
    public long Uncertain { get; private set; }

    /// <summary>Deadlocks that the database resolved at the application's cost.</summary>
    public long Deadlocks { get; private set; }

    /// <summary>Rows that were read and did not hold the last write.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>Settles the saves whose outcome the former process of this writer did not see.</summary>
    public async Task RecoverAsync(CancellationToken cancellationToken)
    {
        foreach (var (kind, number) in _oracle.Touched.Where(t => t.Number % _owners == _index && _oracle.Intended(t.Kind, t.Number) is not null).ToList())
        {
            await SettleAsync(kind, number, cancellationToken);
        }
    }

    /// <summary>Writes one or several rows in one transaction.</summary>
    /// <param name="rows">How many.</param>
    /// <param name="cancellationToken">Stops waiting for a database that does not answer.</param>
    /// <param name="hold">Awaited while the transaction is open and its rows are locked.</param>
    /// <returns>How many rows were written.</returns>
    public async Task<int> OperateAsync(int rows, CancellationToken cancellationToken, Func<Task>? hold = null)
    {
        var work = new List<(string Kind, long Number, RowState State, Operation Operation)>();
        for (var i = 0; i < rows; i++)
        {
            var next = Choose();
            if (!work.Exists(w => w.Kind == next.Kind && w.Number == next.Number))
            {
                work.Add(next);
            }
        }

        try
        {
            await using var context = _target.CreateContext(_interceptors);
            await using var transaction = work.Count > 1 || hold is not null ? await context.Database.BeginTransactionAsync(cancellationToken) : null;
            foreach (var (kind, number, state, operation) in work)
            {
                Tell(() =>
                {
                    _log.Intend(kind, number, state);
                    _oracle.Intend(kind, number, state);
                });
                await (kind switch
                {
                    "Item" => ApplyAsync<Item>(context, number, state, operation, cancellationToken),
                    "Paper" => ApplyAsync<Paper>(context, number, state, operation, cancellationToken),
                    "Card" => ApplyAsync<Card>(context, number, state, operation, cancellationToken),
                    _ => ApplyAsync<Ledger>(context, number, state, operation, cancellationToken),
                });
            }

            if (hold is not null)
            {
                await hold();
            }

            if (transaction is not null)
            {
                if (_random.Next(5) == 0)
                {
                    await transaction.RollbackAsync(cancellationToken);
                    Tell(() => work.ForEach(w => RollBack(w.Kind, w.Number)));
                    return 0;
                }

                await transaction.CommitAsync(cancellationToken);
            }

            Tell(() => work.ForEach(w => Commit(w.Kind, w.Number)));
            Writes += work.Count;
            return work.Count;
        }
        catch (Exception error) when (error is DbException or DbUpdateException or InvalidOperationException or TimeoutException or IOException or KeyUnavailableException)
        {
            Deadlocks += (error as DbException ?? error.InnerException as DbException)?.SqlState == "40P01" ? 1 : 0;
            foreach (var (kind, number, _, _) in work)
            {
                await SettleAsync(kind, number, cancellationToken);
            }

            return 0;
        }
    }

    private (string Kind, long Number, RowState State, Operation Operation) Choose()
    {
        var kind = _kinds[_random.Next(_kinds.Count)];
        var dice = _random.Next(100);
        if (dice < 5)
        {
            _nextNew += _owners;
            return (kind, _nextNew - _owners, RowState.Initial, Operation.Insert);
        }

        var mine = (_oracle.Rows - _index + _owners - 1) / _owners;
        var number = _index + (_random.NextInt64(mine) * _owners);
        RowState? known = null;
        Tell(() => known = _oracle.Committed(kind, number));
        if (known is not { IsDeleted: false } current)
        {
            return (kind, number, RowState.Initial with { First = _random.Next(1000), Second = _random.Next(1000) }, Operation.Insert);
        }

        return dice switch
        {
            < 9 => (kind, number, current with { IsDeleted = true }, Operation.Delete),
            < 16 => (kind, number, current, Operation.Move),
            < 50 => (kind, number, current with { First = current.First + 1 }, Operation.Update),
            < 65 => (kind, number, current with { Second = current.Second + 1 }, Operation.Update),
            < 75 when kind == "Item" => (kind, number, current with { First = current.First + 1 }, Operation.UpdateInPlace),
            _ => (kind, number, current with { First = current.First + 1, Second = current.Second + 1 }, Operation.Update),
        };
    }

    private async Task ApplyAsync<T>(LoadContext context, long number, RowState state, Operation operation, CancellationToken cancellationToken)
        where T : class, IChaosRow, new()
    {
        var kind = typeof(T).Name;
        if (operation == Operation.UpdateInPlace)
        {
            var tenant = Values.Tenant(number, _tenants);
            var text = Values.Text(number, state.First, 'f');
            await context.Items.Where(i => i.TenantId == tenant && i.Number == number).ExecuteUpdateAsync(set => set.SetProperty(i => i.First, text), cancellationToken);
            return;
        }

        if (operation == Operation.Move && typeof(T) != typeof(Ledger))
        {
            // ExecuteUpdate sets no key property, and SaveChanges no key of a tracked row: as an application does it, in SQL.
            var id = NewId();
            await context.Database.ExecuteSqlAsync(
                kind switch
                {
                    "Item" => $"UPDATE \"Items\" SET \"Id\" = {id} WHERE \"Number\" = {number}",
                    "Paper" => $"UPDATE \"Papers\" SET \"Id\" = {id} WHERE \"Number\" = {number}",
                    _ => (FormattableString)$"UPDATE \"Cards\" SET \"Id\" = {id} WHERE \"Number\" = {number}",
                },
                cancellationToken);
            return;
        }

        T? row = null;
        if (operation != Operation.Insert)
        {
            row = await context.Set<T>().SingleOrDefaultAsync(r => r.Number == number, cancellationToken);
            if (row is null || !IsRight(kind, row))
            {
                Violations.Add(row is null ? $"{kind} {number}: is gone" : $"{kind} {number}: holds ({row.First}, {row.Second})");
                return;
            }
        }

        if (operation is Operation.Delete or Operation.Move)
        {
            context.Remove(row!);
        }

        if (operation is Operation.Insert or Operation.Move)
        {
            row = new T { Id = NewId(), Number = number, TenantId = Values.Tenant(number, _tenants) };
            context.Add(row);
        }

        if (operation != Operation.Delete)
        {
            Values.Fill(row!, state);
        }

        await context.SaveChangesAsync(cancellationToken);
    }

    private bool IsRight(string kind, IChaosRow row)
    {
        var right = false;
        Tell(() => right = _oracle.Committed(kind, row.Number) is { } committed && Values.Holds(row, committed));
        return right;
    }

    /// <summary>Reads what became of a save; waits for a database that is away.</summary>
    private async Task SettleAsync(string kind, long number, CancellationToken cancellationToken)
    {
        while (true)
        {
            RowState? intended = null;
            Tell(() => intended = _oracle.Intended(kind, number));
            if (intended is null)
            {
                return;
            }

            try
            {
                await using var context = _target.CreateContext();
                IChaosRow? row = kind switch
                {
                    "Item" => await context.Items.AsNoTracking().SingleOrDefaultAsync(r => r.Number == number, cancellationToken),
                    "Paper" => await context.Papers.AsNoTracking().SingleOrDefaultAsync(r => r.Number == number, cancellationToken),
                    "Card" => await context.Cards.AsNoTracking().SingleOrDefaultAsync(r => r.Number == number, cancellationToken),
                    _ => await context.Ledgers.AsNoTracking().SingleOrDefaultAsync(r => r.Number == number, cancellationToken),
                };
                Tell(() =>
                {
                    if (row is null ? intended.Value.IsDeleted : Values.Holds(row, intended.Value))
                    {
                        Commit(kind, number);
                    }
                    else
                    {
                        var committed = _oracle.Committed(kind, number);
                        if (row is null ? committed is { IsDeleted: false } : committed is null || !Values.Holds(row, committed.Value))
                        {
                            Violations.Add($"{kind} {number}: {(row is null ? "is gone" : $"holds ({row.First}, {row.Second})")}, neither {committed} nor {intended}");
                        }

                        RollBack(kind, number);
                    }
                });
                Uncertain++;
                return;
            }
            catch (Exception error) when (error is DbException or InvalidOperationException or TimeoutException or IOException or KeyUnavailableException && !cancellationToken.IsCancellationRequested)
            {
                await Task.Delay(100, cancellationToken);
            }
        }
    }

    private void Commit(string kind, long number)
    {
        _log.Commit(kind, number);
        _oracle.Commit(kind, number);
    }

    private void RollBack(string kind, long number)
    {
        _log.RollBack(kind, number);
        _oracle.RollBack(kind, number);
    }

    /// <summary>Anywhere: before or behind where the job stands.</summary>
    private long NewId() => _random.NextInt64(-(1L << 50), 1L << 50);

    private void Tell(Action action)
    {
        lock (_oracle)
        {
            action();
        }
    }

    private enum Operation
    {
        Insert,
        Update,
        UpdateInPlace,
        Delete,
        Move,
    }
}

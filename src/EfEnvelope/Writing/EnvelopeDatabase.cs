using System.Linq.Expressions;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>
/// The one place after DetectChanges and every interceptor, inside the retry strategy: chooses the keys of the rows to be written, adds the ring rows of new row keys to
/// the same unit of work, and takes them off the count again.
/// </summary>
internal sealed class EnvelopeDatabase(IDatabase inner, ICurrentDbContext current, EnvelopeSession session, IRelationalConnection connection, IInterceptors interceptors) : IDatabase
{
    public int SaveChanges(IList<IUpdateEntry> entries)
    {
        if (!entries.Any(MayAsk))
        {
            return SavePrepared(entries);
        }

        // Opened here, as EF would: interceptors of the application that know synchronous opening alone are called before anything asks the database.
        connection.Open();
        try
        {
            return SavePrepared(entries);
        }
        finally
        {
            connection.Close();
        }
    }

    /// <summary>Whether a row's key, or whose it is, may have to be asked of the database before it is saved.</summary>
    private static bool MayAsk(IUpdateEntry entry) => EncryptedTypeInfo.Of(entry.EntityType) is var info && (info.HasOwnerKeys || info.Writes(entry) || info.GetsRowId(entry));

    private int SavePrepared(IList<IUpdateEntry> entries)
    {
        var plan = SynchronousBridge.Wait(() => new SavePreparation(current.Context, session).PrepareAsync(entries, CancellationToken.None));
        if (plan is null)
        {
            return inner.SaveChanges(entries);
        }

        var behavior = current.Context.Database.AutoTransactionBehavior;
        var saved = WithRing(plan, entries);
        try
        {
            SynchronousBridge.Wait(() => BeginAsync(plan, CancellationToken.None));
            return inner.SaveChanges(saved) - plan.RingEntries.Count;
        }
        finally
        {
            Finish(plan, behavior, entries, saved);
        }
    }

    /// <summary>The connection is opened when EF sends something, and not held while keys are fetched, unless it must be open to tell whose keys those are.</summary>
    public async Task<int> SaveChangesAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken = default)
    {
        if (IsKnownWhileClosed || !entries.Any(MayAsk))
        {
            return await SavePreparedAsync(entries, cancellationToken).ConfigureAwait(false);
        }

        await connection.OpenAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await SavePreparedAsync(entries, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await connection.CloseAsync().ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Whether a closed connection tells where it leads. Not where interceptors of the application are called when it is opened, which may set its connection string, or a password in it; nor without a string; nor in memory, where the database
    /// begins with it.
    /// </summary>
    private bool IsKnownWhileClosed => interceptors.Aggregate<IDbConnectionInterceptor>() is null && !session.IsInMemory && !string.IsNullOrEmpty(connection.DbConnection.ConnectionString);

    private async Task<int> SavePreparedAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken)
    {
        var plan = await new SavePreparation(current.Context, session).PrepareAsync(entries, cancellationToken).ConfigureAwait(false);
        if (plan is null)
        {
            return await inner.SaveChangesAsync(entries, cancellationToken).ConfigureAwait(false);
        }

        var behavior = current.Context.Database.AutoTransactionBehavior;
        var saved = WithRing(plan, entries);
        try
        {
            await BeginAsync(plan, cancellationToken).ConfigureAwait(false);
            return await inner.SaveChangesAsync(saved, cancellationToken).ConfigureAwait(false) - plan.RingEntries.Count;
        }
        finally
        {
            Finish(plan, behavior, entries, saved);
        }
    }

    public Func<QueryContext, TResult> CompileQuery<TResult>(Expression query, bool async)
        => inner.CompileQuery<TResult>(query, async);

    public Expression<Func<QueryContext, TResult>> CompileQueryExpression<TResult>(Expression query, bool async)
        => inner.CompileQueryExpression<TResult>(query, async);

    /// <summary>
    /// A save of a single statement has a transaction too where the statement may reach the server after its lease is over: on SQLite always, so that the keys are asked for with the write lock held, which a statement alone waits for behind that
    /// question; elsewhere in the lease's second half. None where the connection is in one that EF does not know, and would fail to begin another.
    /// </summary>
    /// <returns>Whether it has one.</returns>
    private async ValueTask<bool> BeginAsync(SavePlan plan, CancellationToken cancellationToken)
    {
        Saves.Set(current.Context, plan);
        session.Save = plan.Lease;
        var isLate = plan.Lease.IsHalfOver;
        session.IsSaveInRawTransaction = isLate && await session.IsInRawTransactionAsync(cancellationToken).ConfigureAwait(false);
        var needsOne = current.Context.Database.AutoTransactionBehavior == AutoTransactionBehavior.WhenNeeded && (session.IsSqlite || isLate) && !session.IsSaveInRawTransaction;
        if (needsOne)
        {
            current.Context.Database.AutoTransactionBehavior = AutoTransactionBehavior.Always;
        }

        return needsOne;
    }

    private static IList<IUpdateEntry> WithRing(SavePlan plan, IList<IUpdateEntry> entries) => plan.RingEntries.Count == 0 ? entries : [.. plan.RingEntries, .. entries];

    /// <summary>
    /// Outside of a transaction of the user's, what was saved is committed or gone: new keys are read again from their rows. What EF added to the list, unchanged entities that share a row with changed ones,
    /// it also takes for saved afterwards.
    /// </summary>
    private void Finish(SavePlan plan, AutoTransactionBehavior behavior, IList<IUpdateEntry> entries, IList<IUpdateEntry> saved)
    {
        current.Context.Database.AutoTransactionBehavior = behavior;
        if (!ReferenceEquals(saved, entries))
        {
            for (var i = plan.RingEntries.Count + entries.Count; i < saved.Count; i++)
            {
                entries.Add(saved[i]);
            }
        }

        session.Save = null;
        session.IsSaveInRawTransaction = false;
        Saves.Clear(current.Context);
        plan.Dispose();
        session.TransientKeys.ForgetEnded();
    }
}

using System.Linq.Expressions;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>
/// The one place after DetectChanges and every interceptor, inside the retry strategy: chooses the keys of the rows to be written, adds the ring rows of new row keys to
/// the same unit of work, and takes them off the count again.
/// </summary>
internal sealed class EnvelopeDatabase(IDatabase inner, ICurrentDbContext current, EnvelopeSession session) : IDatabase
{
    public int SaveChanges(IList<IUpdateEntry> entries)
    {
        var preparing = new SavePreparation(current.Context, session).PrepareAsync(entries, CancellationToken.None);
        var plan = preparing.IsCompletedSuccessfully ? preparing.Result : SynchronousBridge.Run(preparing.AsTask);
        if (plan is null)
        {
            return inner.SaveChanges(entries);
        }

        Begin(plan);
        try
        {
            return inner.SaveChanges(plan.RingEntries.Count == 0 ? entries : [.. plan.RingEntries, .. entries]) - plan.RingEntries.Count;
        }
        finally
        {
            Finish(plan);
        }
    }

    public async Task<int> SaveChangesAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken = default)
    {
        var plan = await new SavePreparation(current.Context, session).PrepareAsync(entries, cancellationToken).ConfigureAwait(false);
        if (plan is null)
        {
            return await inner.SaveChangesAsync(entries, cancellationToken).ConfigureAwait(false);
        }

        Begin(plan);
        try
        {
            return await inner.SaveChangesAsync(plan.RingEntries.Count == 0 ? entries : [.. plan.RingEntries, .. entries], cancellationToken).ConfigureAwait(false)
                - plan.RingEntries.Count;
        }
        finally
        {
            Finish(plan);
        }
    }

    public Func<QueryContext, TResult> CompileQuery<TResult>(Expression query, bool async)
        => inner.CompileQuery<TResult>(query, async);

    public Expression<Func<QueryContext, TResult>> CompileQueryExpression<TResult>(Expression query, bool async)
        => inner.CompileQueryExpression<TResult>(query, async);

    private void Begin(SavePlan plan)
    {
        Saves.Set(current.Context, plan);
        var ring = session.Ring;
        session.Sealed = (ring, ring.ConfirmedAt, plan.Pins);
    }

    /// <summary>Outside of a transaction of the user's, what was saved is committed or gone: new keys are read again from their rows.</summary>
    private void Finish(SavePlan plan)
    {
        session.Sealed = null;
        Saves.Clear(current.Context);
        plan.Dispose();
        session.TransientKeys.ForgetEnded();
    }
}

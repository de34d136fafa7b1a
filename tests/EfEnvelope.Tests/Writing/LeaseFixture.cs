using System.Data.Common;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Writing;

/// <summary>Writers that are stopped on their way to the server, while another process ends their keys.</summary>
public abstract class LeaseFixture(string provider) : LifecycleFixture(provider)
{
    protected static readonly TimeSpan PastLease = new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1);

    protected static readonly TimeSpan HalfLease = (new KeyRingOptions().SealingLease / 2) + TimeSpan.FromSeconds(1);

    /// <summary>The process of <see cref="LifecycleFixture.New(string)"/>, with interceptors.</summary>
    protected BankContext New(params IInterceptor[] interceptors) => new(Database.Options(e => e.With(o => o with { MaxCachedKeys = 1000 + 'a' }), o => o.AddInterceptors(interceptors)));

    protected BankContext New(SendingPoint point) => New(point, point.OfTransactions);

    /// <summary>Another process: this one learns of it when it asks the ring.</summary>
    protected async Task RotateElsewhereAsync()
    {
        await using var other = New("b");
        await new EnvelopeKeys(other).RotateAsync(ScopeA);
    }

    /// <summary>And its lease is over.</summary>
    protected async Task RetireElsewhereAsync()
    {
        await RotateElsewhereAsync();
        Database.Time.Advance(PastLease);
    }

    /// <summary>Reached once, when a transaction is about to begin, unless that is left out: the keys are chosen by then, nothing is sent. Or when a statement is about to be sent, whichever is first.</summary>
    protected sealed class SendingPoint : DbCommandInterceptor
    {
        public Func<Task>? Reach { get; set; }

        public bool IsOfTransactions { get; init; } = true;

        public IInterceptor OfTransactions => new TransactionPoint(this);

        public override InterceptionResult<DbDataReader> ReaderExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result)
        {
            Task.Run(ReachAsync).GetAwaiter().GetResult();
            return result;
        }

        public override async ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        {
            await ReachAsync();
            return result;
        }

        public override InterceptionResult<int> NonQueryExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<int> result)
        {
            Task.Run(ReachAsync).GetAwaiter().GetResult();
            return result;
        }

        public override async ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
        {
            await ReachAsync();
            return result;
        }

        private async Task ReachAsync()
        {
            if (Reach is { } reach)
            {
                Reach = null;
                await reach();
            }
        }

        private sealed class TransactionPoint(SendingPoint point) : DbTransactionInterceptor
        {
            public override InterceptionResult<DbTransaction> TransactionStarting(DbConnection connection, TransactionStartingEventData eventData, InterceptionResult<DbTransaction> result)
            {
                if (point.IsOfTransactions)
                {
                    Task.Run(point.ReachAsync).GetAwaiter().GetResult();
                }

                return result;
            }

            public override async ValueTask<InterceptionResult<DbTransaction>> TransactionStartingAsync(
                DbConnection connection, TransactionStartingEventData eventData, InterceptionResult<DbTransaction> result, CancellationToken cancellationToken = default)
            {
                if (point.IsOfTransactions)
                {
                    await point.ReachAsync();
                }

                return result;
            }
        }
    }
}

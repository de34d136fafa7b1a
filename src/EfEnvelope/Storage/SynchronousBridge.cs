using System.Transactions;

namespace EfEnvelope.Storage;

/// <summary>
/// The one place where asynchronous work is waited for: EF's own synchronous API (SaveChanges, Read) has no other way, and the key service's SDK is asynchronous only. The work
/// runs on the thread pool, so a SynchronizationContext cannot deadlock it. Used only where a key is cold, or a save must ask whether its keys may still seal.
/// The caller's transaction goes with the work: the one of an ordinary TransactionScope is known on the caller's thread alone.
/// </summary>
internal static class SynchronousBridge
{
    public static T Run<T>(Func<Task<T>> work)
    {
        using var transaction = new Flow();
        return Task.Run(work).GetAwaiter().GetResult();
    }

    public static void Run(Func<Task> work)
    {
        using var transaction = new Flow();
        Task.Run(work).GetAwaiter().GetResult();
    }

    /// <summary>Work that seldom has anything to wait for: begins on the caller's thread, unless what it awaits (an application's provider of passwords, an interceptor) would come back to that.</summary>
    public static T Wait<T>(Func<ValueTask<T>> work)
    {
        if (SynchronizationContext.Current is not null || TaskScheduler.Current != TaskScheduler.Default)
        {
            return Run(() => work().AsTask());
        }

        using var transaction = new Flow();
        var begun = work();
        return begun.IsCompletedSuccessfully ? begun.Result : Task.Run(begun.AsTask).GetAwaiter().GetResult();
    }

    /// <summary>Lets the caller's ambient transaction flow into asynchronous work, and decides nothing of its outcome.</summary>
    private readonly ref struct Flow
    {
        private readonly TransactionScope? _scope;

        public Flow() => _scope = Transaction.Current is { } current ? new TransactionScope(current, TransactionScopeAsyncFlowOption.Enabled) : null;

        public void Dispose()
        {
            // One that is not completed would roll the caller's transaction back.
            _scope?.Complete();
            _scope?.Dispose();
        }
    }
}

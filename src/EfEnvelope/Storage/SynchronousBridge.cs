namespace EfEnvelope.Storage;

/// <summary>
/// The one place where asynchronous work is waited for: EF's own synchronous API (SaveChanges, Read) has no other way, and the key service's SDK is asynchronous only. The work
/// runs on the thread pool, so a SynchronizationContext cannot deadlock it. Used only where a key is cold, or a save must ask whether its keys may still seal.
/// </summary>
internal static class SynchronousBridge
{
    public static T Run<T>(Func<Task<T>> work) => Task.Run(work).GetAwaiter().GetResult();

    public static void Run(Func<Task> work) => Task.Run(work).GetAwaiter().GetResult();
}

using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Tests.Keys;

/// <summary>A real ring store that counts what is asked of it (how many commands that takes is the store's) and goes out of reach on demand.</summary>
internal sealed class WatchedStore(IKeyRingStore inner) : IKeyRingStore
{
    private int _queries;

    public int Queries => _queries;

    public bool OutOfReach { get; set; }

    /// <summary>Awaited after the query of a scope's keys was answered, while it is set.</summary>
    public Func<Task>? AfterFindByScope { get; set; }

    public bool IsTransient => inner.IsTransient;

    public bool UsesCallersConnection => CallersConnection ?? inner.UsesCallersConnection;

    /// <summary>Whether the caller's connection is said to be used; null for what is true.</summary>
    public bool? CallersConnection { get; set; }

    /// <summary>Thrown by every query, while it is set.</summary>
    public Func<Exception>? Failure { get; set; }

    /// <summary>Thrown by <see cref="Detach"/>, while it is set: the context's connection is disposed of.</summary>
    public Func<Exception>? FailDetach { get; set; }

    /// <summary>What the ring's own row is said to be instead, while it is set.</summary>
    public Func<RingIdentity, RingIdentity>? Answer { get; set; }

    /// <summary>Awaited before the ring's own row is read, while it is set.</summary>
    public Func<Task>? BeforeGetIdentity { get; set; }

    /// <summary>Awaited after keys that were asked for by id were found, while it is set.</summary>
    public Func<Task>? AfterFindById { get; set; }

    /// <summary>Awaited before keys are inserted, while it is set.</summary>
    public Func<Task>? BeforeInsert { get; set; }

    /// <summary>Watched on: the context of these tests outlives everything.</summary>
    public IKeyRingStore Detach() => FailDetach is { } failure ? throw failure() : this;

    /// <summary>Watched on: each test has one server.</summary>
    public Task<T> OnOneConnectionAsync<T>(Func<IKeyRingStore, Task<T>> work, CancellationToken cancellationToken) => work(this);

    public async Task<RingIdentity> GetIdentityAsync(CancellationToken cancellationToken)
    {
        if (BeforeGetIdentity is { } gate)
        {
            await gate();
        }

        var identity = await Run(() => inner.GetIdentityAsync(cancellationToken));
        return Answer is { } answer ? answer(identity) : identity;
    }

    public Task RaiseSealingLeaseAsync(TimeSpan lease, CancellationToken cancellationToken)
        => Run(async () =>
        {
            await inner.RaiseSealingLeaseAsync(lease, cancellationToken);
            return true;
        });

    public async Task<IReadOnlyList<KeyRingEntry>> FindByScopeAsync(IReadOnlyCollection<string> scopes, KeyPurpose purpose, CancellationToken cancellationToken)
    {
        var found = await Run(() => inner.FindByScopeAsync(scopes, purpose, cancellationToken));
        if (AfterFindByScope is { } gate)
        {
            await gate();
        }

        return found;
    }

    public async Task<IReadOnlyList<KeyRingEntry>> FindByIdAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellationToken)
    {
        var found = await Run(() => inner.FindByIdAsync(ids, cancellationToken));
        if (AfterFindById is { } gate)
        {
            await gate();
        }

        return found;
    }

    public async Task<int> TryInsertAsync(IReadOnlyCollection<KeyRingEntry> entries, CancellationToken cancellationToken)
    {
        if (BeforeInsert is { } gate)
        {
            await gate();
        }

        return await Run(() => inner.TryInsertAsync(entries, cancellationToken));
    }

    public Task<int> RestoreAsync(IReadOnlyCollection<KeyRingEntry> entries, Func<KeyRingEntry, KeyRingEntry> retire, CancellationToken cancellationToken) => Run(() => inner.RestoreAsync(entries, retire, cancellationToken));

    public Task<bool> TryUpdateAsync(KeyRingEntry entry, CancellationToken cancellationToken) => Run(() => inner.TryUpdateAsync(entry, cancellationToken));

    /// <summary>Thrown after a change was committed, while it is set: the process dies with its work done and unknown to it.</summary>
    public Func<Exception>? DieAfterChange { get; set; }

    /// <summary>The answer to the next commit is lost: asked again, the store finds that the rows are not what they were.</summary>
    public bool LosesAnswer { get; set; }

    public async Task<bool> TryChangeAsync(IReadOnlyCollection<KeyRingEntry> inserted, IReadOnlyCollection<KeyRingEntry> changed, CancellationToken cancellationToken)
    {
        var done = await Run(() => inner.TryChangeAsync(inserted, changed, cancellationToken));
        if (LosesAnswer)
        {
            LosesAnswer = false;
            return false;
        }

        return DieAfterChange is { } death ? throw death() : done;
    }

    public Task<IReadOnlyList<KeyRingEntry>> ListAsync(bool includeRowKeys, CancellationToken cancellationToken) => Run(() => inner.ListAsync(includeRowKeys, cancellationToken));

    public Task VisitAsync(RingFilter filter, Action restart, Action<KeyRingEntry> visit, CancellationToken cancellationToken)
        => Run(async () =>
        {
            await inner.VisitAsync(filter, restart, visit, cancellationToken);
            return true;
        });

    public Task<IReadOnlyList<KeyRingEntry>> PageAsync(RingFilter filter, Guid? after, int count, CancellationToken cancellationToken) => Run(() => inner.PageAsync(filter, after, count, cancellationToken));

    public Task<bool> TryTakeOverAsync(RingIdentity identity, KeyRingEntry macKey, CancellationToken cancellationToken) => Run(() => inner.TryTakeOverAsync(identity, macKey, cancellationToken));

    private Task<T> Run<T>(Func<Task<T>> query)
    {
        Interlocked.Increment(ref _queries);
        return Failure is { } failure ? Task.FromException<T>(failure())
            : OutOfReach ? Task.FromException<T>(new KeyUnavailableException("The key ring cannot be read (injected).") { IsRingOutOfReach = true })
            : query();
    }
}

using EfEnvelope.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage.Ring;

/// <summary>Drops what the process holds of a ring whose database EF deletes: keys of a ring that is gone must never seal a value of the next one.</summary>
internal sealed class RingAwareDatabaseCreator(IRelationalDatabaseCreator inner, ICurrentDbContext current) : IRelationalDatabaseCreator
{
    public bool EnsureDeleted() => Invalidated(inner.EnsureDeleted());

    public async Task<bool> EnsureDeletedAsync(CancellationToken cancellationToken = default)
        => Invalidated(await inner.EnsureDeletedAsync(cancellationToken).ConfigureAwait(false));

    public void Delete()
    {
        inner.Delete();
        Invalidated(true);
    }

    public async Task DeleteAsync(CancellationToken cancellationToken = default)
    {
        await inner.DeleteAsync(cancellationToken).ConfigureAwait(false);
        Invalidated(true);
    }

    public bool EnsureCreated() => inner.EnsureCreated();

    public Task<bool> EnsureCreatedAsync(CancellationToken cancellationToken = default) => inner.EnsureCreatedAsync(cancellationToken);

    public bool CanConnect() => inner.CanConnect();

    public Task<bool> CanConnectAsync(CancellationToken cancellationToken = default) => inner.CanConnectAsync(cancellationToken);

    public bool Exists() => inner.Exists();

    public Task<bool> ExistsAsync(CancellationToken cancellationToken = default) => inner.ExistsAsync(cancellationToken);

    public bool HasTables() => inner.HasTables();

    public Task<bool> HasTablesAsync(CancellationToken cancellationToken = default) => inner.HasTablesAsync(cancellationToken);

    public void Create() => inner.Create();

    public Task CreateAsync(CancellationToken cancellationToken = default) => inner.CreateAsync(cancellationToken);

    public void CreateTables() => inner.CreateTables();

    public Task CreateTablesAsync(CancellationToken cancellationToken = default) => inner.CreateTablesAsync(cancellationToken);

    public string GenerateCreateScript() => inner.GenerateCreateScript();

    private bool Invalidated(bool deleted)
    {
        var connection = current.Context.Database.GetDbConnection();
        KeyRingRegistry.Invalidate(RingStoreFactory.DataSourceOf(connection), connection.Database);
        return deleted;
    }
}

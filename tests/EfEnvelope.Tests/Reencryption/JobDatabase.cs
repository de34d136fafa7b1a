using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Postgres;
using Microsoft.Data.Sqlite;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>A database that several processes work on, with a key file that they share.</summary>
internal sealed class JobDatabase : IAsyncDisposable
{
    private readonly string _provider;
    private readonly string _connectionString;
    private readonly bool _isShared;

    private JobDatabase(string provider, string connectionString, bool isShared)
    {
        (_provider, _connectionString, _isShared) = (provider, connectionString, isShared);
        Folder = Directory.CreateTempSubdirectory("efenvelope-job-").FullName;
    }

    /// <summary>For logs; deleted with the database.</summary>
    public string Folder { get; }

    public string ConnectionString => _connectionString;

    public static async Task<JobDatabase> CreateAsync(string provider)
        => provider == EfEnvelope.JobProcess.Load.Target.Postgres
            ? new JobDatabase(provider, await (await PostgresServer.GetAsync()).CreateDatabaseAsync(), isShared: true)
            : new JobDatabase(provider, $"Data Source={Path.Combine(TestFolder.Quick, $"efenvelope-{Guid.NewGuid():N}.db")}", isShared: false);

    /// <summary>A database of a server of the test's own.</summary>
    public static JobDatabase At(string connectionString) => new(EfEnvelope.JobProcess.Load.Target.Postgres, connectionString, isShared: false);

    public Target Target(TimeSpan? lease = null, TimeSpan skew = default, string? connectionString = null)
        => new(_provider, connectionString ?? _connectionString, Path.Combine(Folder, "root.key"), lease ?? TimeSpan.FromSeconds(1), skew);

    public async ValueTask DisposeAsync()
    {
        if (_isShared)
        {
            await (await PostgresServer.GetAsync()).DropDatabaseAsync(_connectionString);
        }
        else if (_provider != EfEnvelope.JobProcess.Load.Target.Postgres)
        {
            using var connection = new SqliteConnection(_connectionString);
            SqliteConnection.ClearPool(connection);
            foreach (var suffix in new[] { "", "-wal", "-shm" })
            {
                File.Delete(connection.DataSource + suffix);
            }
        }

        Directory.Delete(Folder, recursive: true);
    }
}

using System.Data.Common;
using System.Diagnostics;
using EfEnvelope.Keys;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Tests.Keys;

/// <summary>
/// Counts the commands on one of the ring's tables that one test sends, as the database's driver sees them: by Npgsql's own tracing, of this test's trace only; on SQLite, whose driver traces nothing, by a connection that watches its
/// commands.
/// </summary>
internal sealed class CommandCount : IDisposable
{
    private readonly string _table;
    private readonly ActivityListener _listener;
    private readonly Activity _trace;
    private readonly List<SqliteCommand> _commands = [];
    private int _traced;

    public CommandCount(string table = "EnvelopeKeys")
    {
        _table = $"\"{table}\"";
        _trace = new Activity("test").SetIdFormat(ActivityIdFormat.W3C).Start();
        var trace = _trace.TraceId;
        _listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Npgsql",
            Sample = (ref ActivityCreationOptions<ActivityContext> options) => options.TraceId == trace ? ActivitySamplingResult.AllData : ActivitySamplingResult.None,
            ActivityStopped = activity =>
            {
                if (activity.TraceId == trace && activity.TagObjects.Any(t => t.Value is string text && text.Contains(_table, StringComparison.Ordinal)))
                {
                    Interlocked.Increment(ref _traced);
                }
            },
        };
        ActivitySource.AddActivityListener(_listener);
    }

    /// <summary>Commands that were sent so far.</summary>
    public int OfTheTable => _traced + _commands.Count(c => c.CommandText.Contains(_table, StringComparison.Ordinal));

    /// <summary>A context's store, watched.</summary>
    public IKeyRingStore Watch(BankContext context)
        => context.Database.IsNpgsql() ? RingStoreFactory.For(context, null) : new RelationalKeyRingStore(
            RingConnection.Own(_ => ValueTask.FromResult<DbConnection>(new WatchedConnection(context.Database.GetConnectionString()!, _commands))), context.Model, context.GetService<ISqlGenerationHelper>());

    public void Dispose()
    {
        _listener.Dispose();
        _trace.Dispose();
    }

    private sealed class WatchedConnection(string connectionString, List<SqliteCommand> commands) : SqliteConnection(connectionString)
    {
        public override SqliteCommand CreateCommand()
        {
            var command = base.CreateCommand();
            lock (commands)
            {
                commands.Add(command);
            }

            return command;
        }
    }
}

using System.Data.Common;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteApplicationInterceptorTests() : ApplicationInterceptorTests("SQLite");

public sealed class PostgresApplicationInterceptorTests() : ApplicationInterceptorTests("PostgreSQL");

/// <summary>The application's own interceptors and logs of commands: they are called as without EfEnvelope, see envelopes and never placeholders, and may replace command and reader.</summary>
public abstract class ApplicationInterceptorTests(string provider) : OwnerTests(provider)
{
    private static readonly string[] OfAQuery = ["creating", "created", "initialized", "executing", "executed", "closing", "disposing"];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_interceptor_is_told_every_step_of_a_query_once(bool sync)
    {
        await SaveAsync(TenantA, "a");
        await ColdAsync();
        var recorder = new Recorder();
        await using var context = New(o => o.AddInterceptors(recorder));
        for (var i = 0; i < 2; i++)
        {
            recorder.Steps.Clear();
            var names = sync ? [.. context.Owners.AsNoTracking().Select(o => o.Name)] : await context.Owners.AsNoTracking().Select(o => o.Name).ToListAsync();
            Assert.Equal(["canary a"], names);
            Assert.Equal(OfAQuery, recorder.Steps);
        }
    }

    [Fact]
    public async Task An_interceptor_sees_a_save_and_no_placeholder_in_its_parameters()
    {
        var recorder = new Recorder();
        await using (var context = New(o => o.AddInterceptors(recorder)))
        {
            context.Add(NewOwner(TenantA, "a", chips: 0));
            await context.SaveChangesAsync();
            Assert.Contains("executing", recorder.Steps);
            Assert.All(recorder.Envelopes, e => Assert.Equal(0xC1, e[0]));
            Assert.NotEmpty(recorder.Envelopes);
            recorder.Envelopes.Clear();
            Assert.Equal(1, await context.Owners.Where(o => o.TenantId == TenantA).ExecuteUpdateAsync(o => o.SetProperty(x => x.Name, "canary b")));
        }

        Assert.All(recorder.Envelopes, e => Assert.Equal(0xC1, e[0]));
        Assert.Single(recorder.Envelopes);
        await AssertStoredAsync(("a", "canary b", []));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_reader_that_an_interceptor_gave_in_place_of_the_databases_is_read_as_that(bool sync)
    {
        await SaveAsync(TenantA, "a", chips: 0);
        await ColdAsync();
        await using var context = New(o => o.AddInterceptors(new Replacer()));
        var query = context.Owners.AsNoTracking().Select(o => o.Name).TagWith("replace");
        Assert.Equal(["canary a"], sync ? [.. query] : await query.ToListAsync());
    }

    [Fact]
    public async Task A_log_of_commands_has_each_of_them_and_no_value()
    {
        var lines = new List<string>();
        await using (var context = New(o => o.LogTo(lines.Add, [RelationalEventId.CommandExecuted, RelationalEventId.DataReaderDisposing]).EnableSensitiveDataLogging()))
        {
            context.Add(NewOwner(TenantA, "a", chips: 0));
            await context.SaveChangesAsync();
            Assert.Equal(["canary a"], await context.Owners.AsNoTracking().Where(o => o.TenantId == TenantA).Select(o => o.Name).ToListAsync());
        }

        Assert.Contains(lines, l => l.Contains("INSERT INTO", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.Contains("SELECT", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.Contains(nameof(RelationalEventId.DataReaderDisposing), StringComparison.Ordinal));
        Assert.All(lines, l => Assert.DoesNotContain("canary", l, StringComparison.Ordinal));
    }

    private sealed class Recorder : DbCommandInterceptor
    {
        public List<string> Steps { get; } = [];

        public List<byte[]> Envelopes { get; } = [];

        public override InterceptionResult<DbCommand> CommandCreating(CommandCorrelatedEventData eventData, InterceptionResult<DbCommand> result) => Note("creating", result);

        public override DbCommand CommandCreated(CommandEndEventData eventData, DbCommand result) => Note("created", result);

        public override DbCommand CommandInitialized(CommandEndEventData eventData, DbCommand result) => Note("initialized", result);

        public override InterceptionResult<DbDataReader> ReaderExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result) => Executing(command, result);

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
            => new(Executing(command, result));

        public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
            => new(Executing(command, result));

        public override DbDataReader ReaderExecuted(DbCommand command, CommandExecutedEventData eventData, DbDataReader result) => Note("executed", result);

        public override ValueTask<DbDataReader> ReaderExecutedAsync(DbCommand command, CommandExecutedEventData eventData, DbDataReader result, CancellationToken cancellationToken = default) => new(Note("executed", result));

        public override InterceptionResult DataReaderClosing(DbCommand command, DataReaderClosingEventData eventData, InterceptionResult result) => Note("closing", result);

        public override ValueTask<InterceptionResult> DataReaderClosingAsync(DbCommand command, DataReaderClosingEventData eventData, InterceptionResult result) => new(Note("closing", result));

        public override InterceptionResult DataReaderDisposing(DbCommand command, DataReaderDisposingEventData eventData, InterceptionResult result) => Note("disposing", result);

        private T Executing<T>(DbCommand command, T result)
        {
            Envelopes.AddRange(command.Parameters.Cast<DbParameter>().Select(p => p.Value).OfType<byte[]>());
            return Note("executing", result);
        }

        private T Note<T>(string step, T result)
        {
            Steps.Add(step);
            return result;
        }
    }

    /// <summary>Runs the command itself, as a cache of queries or a fake would.</summary>
    private sealed class Replacer : DbCommandInterceptor
    {
        public override InterceptionResult<DbDataReader> ReaderExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result)
            => command.CommandText.Contains("replace", StringComparison.Ordinal) ? InterceptionResult<DbDataReader>.SuppressWithResult(command.ExecuteReader()) : result;

        public override async ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
            => command.CommandText.Contains("replace", StringComparison.Ordinal) ? InterceptionResult<DbDataReader>.SuppressWithResult(await command.ExecuteReaderAsync(cancellationToken)) : result;
    }
}

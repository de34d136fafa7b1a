using System.Collections.Concurrent;
using EfEnvelope.Cryptography;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteWrongPurposeTests() : WrongPurposeTests("SQLite");

public sealed class PostgresWrongPurposeTests() : WrongPurposeTests("PostgreSQL");

/// <summary>A cell that names a key of the ring that seals no values: a kek.</summary>
public abstract class WrongPurposeTests(string provider) : OwnerTests(provider)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_cell_that_names_a_kek_is_refused_and_audited_also_while_the_kek_is_held(bool cold)
    {
        await SaveAsync(TenantA, "a", chips: 2);
        Guid kek;
        await using (var context = New())
        {
            kek = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Purpose == KeyPurpose.Kek && k.Scope == $"tenant:{TenantA}").Id;
            Assert.Equal(2, (await context.Chips.AsNoTracking().ToListAsync()).Count);
        }

        var forger = new Forger(Database);
        foreach (var (table, column, where) in new[] { ("Owners", "Name", "\"Code\" = 'a'"), ("Chips", "Serial", "\"Label\" = 'a/0'") })
        {
            var cell = (byte[])(await Database.ScalarAsync($"SELECT \"{column}\" FROM \"{table}\" WHERE {where}"))!;
            kek.ToByteArray(bigEndian: true).CopyTo(cell, 3);
            await forger.PlantAsync(table, column, cell, where);
        }

        Func<OwnerContext, Task>[] reads =
        [
            c => c.Owners.AsNoTracking().ToListAsync(),
            c => c.Owners.Select(o => o.Name).ToListAsync(),
            c => c.Chips.AsNoTracking().ToListAsync(),
            c => c.Chips.Select(o => o.Serial).ToListAsync(),
            c => Task.FromResult(c.Chips.Where(o => o.Label == "a/0").Select(o => o.Serial).Single()),
        ];
        using var logs = new Refusals();
        foreach (var read in reads)
        {
            if (cold)
            {
                await ColdAsync();
            }

            logs.Messages.Clear();
            await using var context = New(o => o.UseLoggerFactory(logs));
            var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(() => read(context));
            Assert.Equal(kek, error.KeyId);
            Assert.Contains(kek.ToString(), Assert.Single(logs.Messages), StringComparison.Ordinal);
        }
    }

    private sealed class Refusals : ILoggerFactory, ILogger
    {
        public ConcurrentQueue<string> Messages { get; } = [];

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (eventId.Id == EnvelopeEventId.ValueRefused.Id)
            {
                Messages.Enqueue(formatter(state, exception));
            }
        }

        public void Dispose()
        {
        }
    }
}

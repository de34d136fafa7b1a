using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Tests.Diagnostics;

/// <summary>Keeps what was logged, of every level.</summary>
internal sealed class RecordingLogs : ILoggerFactory
{
    private readonly ConcurrentQueue<Event> _events = new();

    public IEnumerable<Event> Own => _events.Where(e => e.Category == "EfEnvelope");

    public List<Event> Of(EventId id) => [.. Own.Where(e => e.Id == id && e.Id.Name == id.Name)];

    public ILogger CreateLogger(string categoryName) => new Logger(categoryName, _events);

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public void Dispose()
    {
    }

    internal sealed record Event(string Category, LogLevel Level, EventId Id, string Message);

    private sealed class Logger(string category, ConcurrentQueue<Event> events) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            => events.Enqueue(new Event(category, logLevel, eventId, formatter(state, exception)));
    }
}

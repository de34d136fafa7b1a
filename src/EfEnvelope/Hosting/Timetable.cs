namespace EfEnvelope.Hosting;

/// <summary>When to run: a pure function of the time.</summary>
internal static class Timetable
{
    /// <summary>The next due time, not before <paramref name="earliest"/>, and within the window.</summary>
    /// <param name="options">The schedule.</param>
    /// <param name="earliest">Now, or the last run's beginning and the interval.</param>
    /// <param name="chance">0 to 1: this share of the jitter is added, unless that would leave the window.</param>
    public static DateTimeOffset Next(ReencryptionScheduleOptions options, DateTimeOffset earliest, double chance)
    {
        var opening = options.Window?.NextOpening(earliest) ?? earliest;
        var due = opening + (chance * options.Jitter);
        return options.Window is { } window && !window.IsOpen(due) ? opening : due;
    }
}

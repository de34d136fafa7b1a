namespace EfEnvelope;

/// <summary>
/// When a re-encryption job may work: from one time of day to another, in a time zone; over midnight where <paramref name="To"/> is before <paramref name="From"/>, all day where they are equal. Immutable.
/// </summary>
/// <param name="From">Local time at which the window opens, inclusive.</param>
/// <param name="To">Local time at which it closes, exclusive. The batch that is under way is finished.</param>
/// <param name="Zone">The time zone; its changes between summer and winter time are followed.</param>
public sealed record ReencryptionWindow(TimeOnly From, TimeOnly To, TimeZoneInfo Zone)
{
    private static readonly TimeSpan Step = TimeSpan.FromMinutes(1);

    /// <summary>Whether the job ends outside of the window, as one that is stopped, to be taken up by the next run (<see cref="OperationCanceledException"/>). Default false: its workers give their units back and wait.</summary>
    public bool StopsOutside { get; init; }

    /// <summary>Whether the window is open at a moment.</summary>
    /// <param name="at">The moment, of any offset.</param>
    public bool IsOpen(DateTimeOffset at)
    {
        var local = TimeOnly.FromDateTime(TimeZoneInfo.ConvertTime(at, Zone).DateTime);
        return From == To || local.IsBetween(From, To);
    }

    /// <summary>How long until it opens, at most; zero while it is open. In steps of a minute, so that a shift of the clock is met.</summary>
    internal TimeSpan UntilOpen(DateTimeOffset now) => IsOpen(now) ? TimeSpan.Zero : Step;
}

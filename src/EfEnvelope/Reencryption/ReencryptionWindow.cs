using System.ComponentModel;
using System.Globalization;
using EfEnvelope.Reencryption;

namespace EfEnvelope;

/// <summary>
/// When a re-encryption job may work: from one time of day to another, in a time zone; over midnight where <paramref name="To"/> is before <paramref name="From"/>, all day where they are equal. Immutable.
/// </summary>
/// <param name="From">Local time at which the window opens, inclusive.</param>
/// <param name="To">Local time at which it closes, exclusive. The batch that is under way is finished.</param>
/// <param name="Zone">The time zone; its changes between summer and winter time are followed.</param>
[TypeConverter(typeof(ReencryptionWindowConverter))]
public sealed record ReencryptionWindow(TimeOnly From, TimeOnly To, TimeZoneInfo Zone)
{
    private const string Stops = "stop";
    private static readonly TimeSpan Step = TimeSpan.FromMinutes(1);

    /// <summary>Whether the job ends outside of the window, as one that is stopped, to be taken up by the next run (<see cref="OperationCanceledException"/>). Default false: its workers give their units back and wait.</summary>
    public bool StopsOutside { get; init; }

    /// <summary>Reads a window as configuration and the command line write it: <c>22:00-05:00</c> (UTC), <c>22:00-05:00 Europe/Zurich</c>, and <c>stop</c> behind it for <see cref="StopsOutside"/>.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="FormatException">It is no window, or this machine does not know the time zone.</exception>
    public static ReencryptionWindow Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).ToList();
        var stops = words.Count > 1 && string.Equals(words[^1], Stops, StringComparison.OrdinalIgnoreCase);
        if (stops)
        {
            words.RemoveAt(words.Count - 1);
        }

        if (words.Count == 0 || words[0].Split('-') is not [var from, var to]
            || !TimeOnly.TryParse(from, CultureInfo.InvariantCulture, out var opens) || !TimeOnly.TryParse(to, CultureInfo.InvariantCulture, out var closes))
        {
            throw new FormatException($"'{text}' is no window. Write it as 22:00-05:00 (UTC) or 22:00-05:00 Europe/Zurich.");
        }

        var zone = string.Join(' ', words.Skip(1));
        return zone.Length == 0 ? new ReencryptionWindow(opens, closes, TimeZoneInfo.Utc) { StopsOutside = stops }
            : TimeZoneInfo.TryFindSystemTimeZoneById(zone, out var found) ? new ReencryptionWindow(opens, closes, found) { StopsOutside = stops }
            : throw new FormatException($"This machine does not know the time zone '{zone}'. Name it as in the IANA database: Europe/Zurich.");
    }

    /// <summary>The window as <see cref="Parse"/> reads it.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Text(From)}-{Text(To)} {Zone.Id}{(StopsOutside ? " " + Stops : "")}");

    /// <summary>Whether the window is open at a moment.</summary>
    /// <param name="at">The moment, of any offset.</param>
    public bool IsOpen(DateTimeOffset at) => From == To || Local(at).IsBetween(From, To);

    /// <summary>How long until it opens, at most; zero while it is open. In steps of a minute, so that a shift of the clock is met.</summary>
    internal TimeSpan UntilOpen(DateTimeOffset now) => IsOpen(now) ? TimeSpan.Zero : Step;

    /// <summary>The first moment from <paramref name="at"/> on at which it is open. Looked for minute by minute, since a shift of the clock may leave a day's opening, or a whole short window, out.</summary>
    internal DateTimeOffset NextOpening(DateTimeOffset at)
    {
        if (IsOpen(at))
        {
            return at;
        }

        const int most = 3 * 24 * 60;
        at += TimeSpan.FromTicks((From - Local(at)).Ticks % Step.Ticks);
        for (var step = 0; step < most && !IsOpen(at); step++)
        {
            at += Step;
        }

        return at;
    }

    private TimeOnly Local(DateTimeOffset at) => TimeOnly.FromDateTime(TimeZoneInfo.ConvertTime(at, Zone).DateTime);

    private static string Text(TimeOnly time) => time.ToString(time.Ticks % TimeSpan.TicksPerMinute == 0 ? "HH:mm" : "HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture);
}

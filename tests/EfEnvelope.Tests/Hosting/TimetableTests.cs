using System.Globalization;
using EfEnvelope.Hosting;

namespace EfEnvelope.Tests.Hosting;

/// <summary>When the hosted service is due.</summary>
public sealed class TimetableTests
{
    private static readonly ReencryptionWindow Night = ReencryptionWindow.Parse("22:00-05:00 Europe/Zurich");

    [Theory]
    [InlineData("2026-01-10T12:00:00Z", "2026-01-10T21:00:00Z")] // 22:00 in winter
    [InlineData("2026-07-10T12:00:07Z", "2026-07-10T20:00:00Z")] // 22:00 in summer
    [InlineData("2026-01-10T23:30:07Z", "2026-01-10T23:30:07Z")]
    [InlineData("2026-01-11T03:59:59Z", "2026-01-11T03:59:59Z")]
    [InlineData("2026-01-11T04:00:00Z", "2026-01-11T21:00:00Z")]
    [InlineData("2026-03-28T12:00:00Z", "2026-03-28T21:00:00Z")]
    [InlineData("2026-03-29T12:00:00Z", "2026-03-29T20:00:00Z")] // the night of the change is over
    public void A_run_is_due_within_the_window_of_its_zone(string earliest, string due)
        => Assert.Equal(At(due), Timetable.Next(new ReencryptionScheduleOptions { Window = Night, Jitter = TimeSpan.Zero }, At(earliest), 1));

    [Theory]
    [InlineData("02:30-02:45", "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z")] // that quarter of an hour does not exist on 29 March
    [InlineData("02:30-04:00", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z")] // opens where the clock goes on: 03:00
    [InlineData("02:30-04:00", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z")] // the first of two 02:30
    public void The_night_in_which_the_clock_is_changed_is_met(string window, string earliest, string due)
        => Assert.Equal(At(due), Timetable.Next(new ReencryptionScheduleOptions { Window = ReencryptionWindow.Parse($"{window} Europe/Zurich"), Jitter = TimeSpan.Zero }, At(earliest), 0));

    [Fact]
    public void Jitter_is_added_unless_it_would_leave_the_window()
    {
        var options = new ReencryptionScheduleOptions { Jitter = TimeSpan.FromHours(2) };
        Assert.Equal(At("2026-01-10T13:00:00Z"), Timetable.Next(options, At("2026-01-10T12:00:00Z"), 0.5));
        options.Window = Night;
        Assert.Equal(At("2026-01-10T22:00:00Z"), Timetable.Next(options, At("2026-01-10T12:00:00Z"), 0.5));
        Assert.Equal(At("2026-01-11T03:30:00Z"), Timetable.Next(options, At("2026-01-11T03:30:00Z"), 0.5));
    }

    [Theory]
    [InlineData("22:00-05:00", "22:00-05:00 UTC", false)]
    [InlineData("22:00-05:00 Europe/Zurich", "22:00-05:00 Europe/Zurich", false)]
    [InlineData(" 0:00-23:59:59  Europe/Zurich  stop ", "00:00-23:59:59 Europe/Zurich stop", true)]
    public void A_window_is_read_and_written_as_text(string text, string written, bool stops)
    {
        var window = ReencryptionWindow.Parse(text);
        Assert.Equal((written, stops), (window.ToString(), window.StopsOutside));
        Assert.Equal(window, ReencryptionWindow.Parse(window.ToString()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("22:00")]
    [InlineData("22:00-25:00")]
    [InlineData("22:00-05:00-06:00")]
    [InlineData("stop")]
    [InlineData("22:00-05:00 Nowhere/Land")]
    public void What_is_no_window_is_told_with_an_example(string text)
        => Assert.Contains("Europe/Zurich", Assert.Throws<FormatException>(() => ReencryptionWindow.Parse(text)).Message, StringComparison.Ordinal);

    private static DateTimeOffset At(string text) => DateTimeOffset.Parse(text, CultureInfo.InvariantCulture);
}

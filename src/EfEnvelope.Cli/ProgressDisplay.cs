using System.Globalization;
using Spectre.Console;

namespace EfEnvelope.Cli;

/// <summary>Shows a job's progress: a live bar in a terminal, a plain line now and then when redirected.</summary>
public static class ProgressDisplay
{
    private static readonly TimeSpan PlainInterval = TimeSpan.FromSeconds(1);

    /// <summary>Runs a job under a display.</summary>
    /// <param name="console">Where to print.</param>
    /// <param name="run">The job; told where to report.</param>
    /// <returns>The job's report.</returns>
    public static Task<ReencryptionReport> RunAsync(IAnsiConsole console, Func<IProgress<ReencryptionProgress>, Task<ReencryptionReport>> run)
    {
        ArgumentNullException.ThrowIfNull(console);
        ArgumentNullException.ThrowIfNull(run);
        return console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi ? LiveAsync(console, run) : run(new PlainLines(console));
    }

    private static Task<ReencryptionReport> LiveAsync(IAnsiConsole console, Func<IProgress<ReencryptionProgress>, Task<ReencryptionReport>> run)
        => console.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn(), new SpinnerColumn())
            .StartAsync(async live =>
            {
                var bar = live.AddTask("re-encrypting");
                var report = await run(new Sink(progress =>
                {
                    bar.MaxValue = Math.Max(1, progress.Done + progress.ToDo);
                    bar.Value = progress.Done;
                    bar.Description = string.Create(CultureInfo.InvariantCulture, $"{Markup.Escape(progress.Table)} {progress.RowsPerSecond:0} rows/s");
                })).ConfigureAwait(false);
                bar.Value = bar.MaxValue;
                return report;
            });

    private sealed class Sink(Action<ReencryptionProgress> report) : IProgress<ReencryptionProgress>
    {
        public void Report(ReencryptionProgress value) => report(value);
    }

    private sealed class PlainLines(IAnsiConsole console) : IProgress<ReencryptionProgress>
    {
        private readonly Lock _gate = new();
        private long _last;

        public void Report(ReencryptionProgress value)
        {
            lock (_gate)
            {
                if (_last != 0 && TimeProvider.System.GetElapsedTime(_last) < PlainInterval && value.ToDo > 0)
                {
                    return;
                }

                _last = TimeProvider.System.GetTimestamp();
                console.Profile.Out.Writer.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"{value.Table}: {value.Done} done, {value.ToDo} to do, {value.RowsPerSecond:0} rows/s, {value.TimeLeft?.TotalSeconds:0} s left"));
            }
        }
    }
}

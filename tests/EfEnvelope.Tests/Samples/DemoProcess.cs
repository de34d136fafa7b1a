using System.Diagnostics;
using System.Globalization;
using System.Text;
using EfEnvelope.Tests.Architecture;

namespace EfEnvelope.Tests.Samples;

/// <summary>Runs the built BankingDemo as a process of its own, with its output redirected.</summary>
internal sealed record DemoProcess(int ExitCode, string Output, string Error)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    public static Task<DemoProcess> RunAsync(IEnumerable<string> arguments, params (string Name, string Value)[] environment) => RunAsync(null, arguments, environment);

    /// <summary>Sends SIGTERM when a line of the output holds the marker.</summary>
    public static Task<DemoProcess> StopAtAsync(string marker, IEnumerable<string> arguments) => RunAsync(marker, arguments, []);

    private static async Task<DemoProcess> RunAsync(string? stopAt, IEnumerable<string> arguments, (string Name, string Value)[] environment)
    {
        // The test's own configuration: bin/<configuration>/net10.0.
        var output = new DirectoryInfo(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar));
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, UseShellExecute = false };
        start.ArgumentList.Add(Path.Combine(RepositoryFolder.Path, "samples", "BankingDemo", "bin", output.Parent!.Name, output.Name, "BankingDemo.dll"));
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        // It lives for seconds: code that is compiled twice to find out what is hot does not pay.
        start.Environment["DOTNET_TieredPGO"] = "0";
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        using var timeout = new CancellationTokenSource(Limit);
        var (text, error) = (ReadAsync(process, stopAt, timeout.Token), process.StandardError.ReadToEndAsync(timeout.Token));
        try
        {
            await process.WaitForExitAsync(timeout.Token);
            return new DemoProcess(process.ExitCode, await text, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"The demo did not end within {Limit}.");
        }
    }

    private static async Task<string> ReadAsync(Process process, string? stopAt, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        while (await process.StandardOutput.ReadLineAsync(cancellationToken) is { } line)
        {
            text.AppendLine(line);
            if (stopAt is not null && line.Contains(stopAt, StringComparison.Ordinal))
            {
                stopAt = null;
                using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
                await kill.WaitForExitAsync(cancellationToken);
            }
        }

        return text.ToString();
    }
}

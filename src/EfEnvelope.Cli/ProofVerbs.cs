using System.CommandLine;
using System.Text;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Cli;

/// <summary><c>verify-report</c>, and the files that <c>reencrypt</c> and <c>census</c> leave their completion report in.</summary>
internal sealed class ProofVerbs(Func<DbContext> createContext, Action<string> print)
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public Command CreateCommand()
    {
        var file = new Argument<string>("file") { Description = "the report's JSON form" };
        var verify = new Command("verify-report", "check a completion report: its hashes, and that this database's key ring authenticated it") { file };
        verify.SetAction((parsed, cancellationToken) => VerifyAsync(parsed.GetValue(file)!, cancellationToken));
        return verify;
    }

    /// <summary>The exit code that a report stands for.</summary>
    public static int ExitCode(CompletionReport report)
        => report.IsProven ? EnvelopeCommandLine.Proven : report.Quarantined > 0 ? EnvelopeCommandLine.Quarantined : EnvelopeCommandLine.Stopped;

    private async Task<int> VerifyAsync(string path, CancellationToken cancellationToken)
    {
        string json;
        try
        {
            json = StrictUtf8.GetString(await File.ReadAllBytesAsync(path, cancellationToken).ConfigureAwait(false));
        }
        catch (DecoderFallbackException)
        {
            print("NOT GENUINE: form: the file is not UTF-8. Nothing that it says counts.");
            return EnvelopeCommandLine.Failed;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new EnvelopeConfigurationException($"'{path}' cannot be read: {error.Message}", error);
        }

        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            var verified = await new EnvelopeKeys(context).VerifyReportAsync(json, cancellationToken).ConfigureAwait(false);
            print(verified.ToText());
            if (verified.Report is not { } report)
            {
                return EnvelopeCommandLine.Failed;
            }

            print(report.ToText().TrimEnd());
            return ExitCode(report);
        }
    }
}

/// <summary>A completion report's two files, made before the work begins: JSON under the name that was given, text beside it.</summary>
internal sealed class CompletionFiles : IDisposable
{
    private readonly ReportFile? _json;
    private readonly ReportFile? _text;

    private CompletionFiles(ReportFile? json, ReportFile? text) => (_json, _text) = (json, text);

    /// <param name="path">The JSON form's; the text form takes <c>.txt</c> instead of <c>.json</c>, or behind any other name. Null for no files.</param>
    /// <exception cref="EnvelopeConfigurationException">One of them is there already, or cannot be made.</exception>
    public static CompletionFiles Open(string? path)
    {
        var json = ReportFile.Open(path);
        try
        {
            return new CompletionFiles(json, ReportFile.Open(path is null ? null : path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? path[..^5] + ".txt" : path + ".txt"));
        }
        catch
        {
            json?.Dispose();
            throw;
        }
    }

    public void Write(CompletionReport report)
    {
        _json?.Write(report.ToJson() + "\n");
        _text?.Write(report.ToText());
    }

    public void Dispose()
    {
        _json?.Dispose();
        _text?.Dispose();
    }
}

namespace EfEnvelope.Cli;

/// <summary>
/// A file for a report: made before the work begins, so that it is known to be writable, and never over another one, but for an empty one, which a process that was killed leaves. Readable by its owner only: it names scopes.
/// </summary>
internal sealed class ReportFile : IDisposable
{
    private readonly FileStream _stream;
    private bool _isWritten;

    private ReportFile(FileStream stream) => _stream = stream;

    /// <exception cref="EnvelopeConfigurationException">It is there already, or cannot be made.</exception>
    public static ReportFile? Open(string? path)
    {
        if (path is null)
        {
            return null;
        }

        try
        {
            if (new FileInfo(path) is { Exists: true, Length: 0 } left)
            {
                left.Delete();
            }

            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            return new ReportFile(new FileStream(path, options));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new EnvelopeConfigurationException($"The report '{path}' cannot be made ({error.Message}). Name a new file. Nothing was changed.", error);
        }
    }

    public void Write(string text)
    {
        using var writer = new StreamWriter(_stream, leaveOpen: true);
        writer.Write(text);
        writer.Flush();
        _stream.Flush(flushToDisk: true);
        _isWritten = true;
    }

    /// <summary>An empty file is no report.</summary>
    public void Dispose()
    {
        _stream.Dispose();
        if (!_isWritten)
        {
            File.Delete(_stream.Name);
        }
    }
}

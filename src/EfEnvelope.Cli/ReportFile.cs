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
            // The lock tells a process that was killed from one that still works and has nothing to write yet.
            var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.Write, Share = FileShare.None };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            var stream = new FileStream(path, options);
            if (stream.Length > 0)
            {
                stream.Dispose();
                throw new IOException("there is such a file");
            }

            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(stream.SafeFileHandle, options.UnixCreateMode!.Value);
            }

            return new ReportFile(stream);
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

    /// <summary>An empty file is no report. It goes before its lock does, where that can be: else it might be another process's by then.</summary>
    public void Dispose()
    {
        if (!_isWritten && !OperatingSystem.IsWindows())
        {
            File.Delete(_stream.Name);
        }

        _stream.Dispose();
        if (!_isWritten && OperatingSystem.IsWindows())
        {
            File.Delete(_stream.Name);
        }
    }
}

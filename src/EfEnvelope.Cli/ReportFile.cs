namespace EfEnvelope.Cli;

/// <summary>
/// A file for a report: made before the work begins, so that it is known to be writable, and never over another one, but for an empty one of its own kind, which a process that was killed leaves. Readable by its owner only: it names scopes.
/// What was there before (a device, a link, a file of the user's) is neither changed nor removed.
/// </summary>
internal sealed class ReportFile : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly FileStream _stream;
    private readonly bool _isNew;
    private bool _isWritten;

    private ReportFile(FileStream stream, bool isNew) => (_stream, _isNew) = (stream, isNew);

    /// <exception cref="EnvelopeConfigurationException">It is there already, or cannot be made.</exception>
    public static ReportFile? Open(string? path)
    {
        if (path is null)
        {
            return null;
        }

        try
        {
            return IsLeftOver(path) ? Adopt(path) : new ReportFile(Open(path, FileMode.CreateNew), isNew: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new EnvelopeConfigurationException($"The report '{path}' cannot be made ({error.Message}). Name a new file. Nothing was changed.", error);
        }
    }

    /// <summary>Whether it is what a killed process leaves: empty, no link, and of the mode that a report is made with. A device's mode, or that of a file that the user made, is another.</summary>
    private static bool IsLeftOver(string path)
        => new FileInfo(path) is { Exists: true, Length: 0, LinkTarget: null } && (OperatingSystem.IsWindows() || File.GetUnixFileMode(path) == OwnerOnly);

    private static ReportFile Adopt(string path)
    {
        var stream = Open(path, FileMode.Open);
        try
        {
            if (stream.Length > 0)
            {
                throw new IOException("there is such a file");
            }

            // No more than it has, but refused by whatever is no file.
            stream.SetLength(0);
            return new ReportFile(stream, isNew: false);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>The lock tells a process that was killed from one that still works and has nothing to write yet.</summary>
    private static FileStream Open(string path, FileMode mode)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.Write, Share = FileShare.None };
        if (mode == FileMode.CreateNew && !OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = OwnerOnly;
        }

        return new FileStream(path, options);
    }

    public void Write(string text)
    {
        using var writer = new StreamWriter(_stream, leaveOpen: true);
        writer.Write(text);
        writer.Flush();
        _stream.Flush(flushToDisk: true);
        _isWritten = true;
    }

    /// <summary>An empty file is no report: one that was made here goes. It goes before its lock does, where that can be: else it might be another process's by then.</summary>
    public void Dispose()
    {
        if (_isNew && !_isWritten && !OperatingSystem.IsWindows())
        {
            File.Delete(_stream.Name);
        }

        _stream.Dispose();
        if (_isNew && !_isWritten && OperatingSystem.IsWindows())
        {
            File.Delete(_stream.Name);
        }
    }
}

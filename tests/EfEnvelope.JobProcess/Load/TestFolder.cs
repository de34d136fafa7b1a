namespace EfEnvelope.JobProcess.Load;

/// <summary>Where the files of tests are made.</summary>
public static class TestFolder
{
    /// <summary>In memory where the platform has such a folder: SQLite waits for the disk at every commit.</summary>
    public static string Quick { get; } = Directory.Exists("/dev/shm") ? "/dev/shm" : Path.TrimEndingDirectorySeparator(Path.GetTempPath());
}

namespace EfEnvelope.JobProcess.Load;

/// <summary>Where the files of tests are made.</summary>
public static class TestFolder
{
    /// <summary>Containers give 64 MB.</summary>
    private const long Enough = 2L << 30;

    /// <summary>In memory where the platform has such a folder, and room in it: SQLite waits for the disk at every commit.</summary>
    public static string Quick { get; } = Directory.Exists("/dev/shm") && new DriveInfo("/dev/shm").AvailableFreeSpace >= Enough ? "/dev/shm" : Path.TrimEndingDirectorySeparator(Path.GetTempPath());
}

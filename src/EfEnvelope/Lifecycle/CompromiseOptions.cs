namespace EfEnvelope;

/// <summary>How the response to a compromise runs. A value; every member has a safe default.</summary>
public sealed record CompromiseOptions
{
    /// <summary>How the rows are re-encrypted, and how long the cut-off is waited for. Default: <see cref="ReencryptionOptions"/>'s own.</summary>
    public ReencryptionOptions Reencryption { get; init; } = new();

    /// <summary>Who reports, for the record in the ring and in the report. Default: the operating system's user.</summary>
    public string? ReportedBy { get; init; }

    /// <summary>
    /// Awaited with the exposure report as soon as it is known: sealing has stopped, no row is re-encrypted yet. Keep it there: once rows are re-encrypted they can no longer be counted. An exception ends the response; the keys stay
    /// marked. Default: none.
    /// </summary>
    public Func<ExposureReport, CancellationToken, Task>? OnExposure { get; init; }
}

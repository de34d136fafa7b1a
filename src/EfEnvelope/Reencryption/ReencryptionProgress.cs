namespace EfEnvelope;

/// <summary>Where a re-encryption job stands. Reported after each batch, from any worker's thread. Immutable.</summary>
/// <param name="Table">The table that the last batch was of.</param>
/// <param name="Done">Rows re-encrypted so far.</param>
/// <param name="ToDo">Rows still to do, as counted when the job (or its latest pass) began; 0 or more.</param>
/// <param name="RowsPerSecond">Average rate of this run.</param>
/// <param name="TimeLeft">Estimate at that rate; null before the first batch.</param>
/// <param name="Conflicts">Rows that the application wrote at the same time; they are visited again.</param>
/// <param name="Quarantined">Cells that could not be opened.</param>
public sealed record ReencryptionProgress(string Table, long Done, long ToDo, double RowsPerSecond, TimeSpan? TimeLeft, long Conflicts, long Quarantined)
{
    /// <summary>Keys and scopes whose cells are passed over in this pass because a key cannot be used (<see cref="BlockedKey"/>).</summary>
    public int Blocked { get; init; }
}

namespace EfEnvelope;

/// <summary>Whether somebody works on a re-encryption job.</summary>
public enum ReencryptionJobState
{
    /// <summary>Not finished, and no worker holds a unit of it with a lease that runs: stopped or killed. The next run takes it up.</summary>
    Waiting,

    /// <summary>A worker is on it.</summary>
    Running,

    /// <summary>Its rows are done. Whether that is proven is what the completion report says.</summary>
    Finished,
}

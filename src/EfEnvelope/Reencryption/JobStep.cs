namespace EfEnvelope.Reencryption;

/// <summary>The points of a job at which tests inject faults: a kill, a pause, an application's write.</summary>
internal enum JobStep
{
    /// <summary>The units are recorded; none is claimed yet.</summary>
    Planned,

    /// <summary>A unit is claimed.</summary>
    Claimed,

    /// <summary>A batch is read; nothing is sealed.</summary>
    Read,

    /// <summary>The batch's old and new keys are loaded and pinned; its transaction has not begun.</summary>
    KeysLoaded,

    /// <summary>The batch's rows are written; the checkpoint is not.</summary>
    Written,

    /// <summary>The checkpoint is written; nothing is committed.</summary>
    Checkpointed,

    /// <summary>The batch is committed.</summary>
    Committed,

    /// <summary>Every unit of a pass is done; the cut-off has not been waited for.</summary>
    Worked,

    /// <summary>The cut-off is reached, or was given up; the final census has not begun.</summary>
    CutOff,

    /// <summary>A pass has counted; the report is not written.</summary>
    Counted,
}

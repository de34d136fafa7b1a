using Microsoft.Extensions.Configuration;

namespace EfEnvelope;

/// <summary>When the hosted service re-encrypts. Set at registration; checked when the host starts; not thread safe.</summary>
public sealed class ReencryptionScheduleOptions
{
    /// <summary>From the beginning of one run to the next. 1 minute to 7 days, default 1 hour. A run that takes longer is followed at once; there are never two. The first run is due when the host starts.</summary>
    public TimeSpan Interval { get; set; } = TimeSpan.FromHours(1);

    /// <summary>A random time of up to this much is added to every due time, so that instances do not begin together. 0 to 12 hours, default 1 minute.</summary>
    public TimeSpan Jitter { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>
    /// The daily window; null, the default, is any time. A run begins only within it; at its end the job stops after the current batch, resumable, unless its rows are done: cut-off and census are not held back.
    /// </summary>
    public ReencryptionWindow? Window { get; set; }

    /// <summary>
    /// How long a proof of this process saves it another run while no further key is retired. After it the tables are counted again, which finds cells that a restored backup brought back. 1 hour to 365 days, default 7 days.
    /// </summary>
    public TimeSpan MaximumProofAge { get; set; } = TimeSpan.FromDays(7);

    /// <summary>
    /// How long a run that ended with cells in quarantine, or passed cells over because a key cannot be used, saves the process another one while no further key is retired and none is asked for
    /// (<see cref="ReencryptionSchedule{TContext}.RequestRun"/>). 1 minute to 365 days, default 1 day.
    /// </summary>
    public TimeSpan QuarantineInterval { get; set; } = TimeSpan.FromDays(1);

    /// <summary>The job's own options, but for its window. Default: <see cref="ReencryptionOptions"/>'s own.</summary>
    public ReencryptionOptions Job { get; set; } = new();

    /// <summary>What a run is given: outside of the window it is to end, not to wait.</summary>
    internal ReencryptionOptions JobInWindow => Window is null ? Job : Job with { Window = Window with { StopsOutside = true } };

    internal void Bind(IConfiguration configuration)
    {
        var path = (configuration as IConfigurationSection)?.Path ?? "";
        if (!configuration.GetChildren().Any())
        {
            throw new EnvelopeConfigurationException($"The configuration section '{path}' of a scheduled re-encryption is empty or does not exist. Name an option in it, such as Interval, or register without a section. Nothing was changed.");
        }

        if (configuration.GetSection(nameof(Job)) is { Value.Length: > 0 } job)
        {
            // The binder would pass over it in silence.
            throw new EnvelopeConfigurationException($"The configuration section '{path}' of a scheduled re-encryption cannot be read: {job.Path} is a section, not a value. Set the job's options in it, such as {job.Path}:{nameof(ReencryptionOptions.BatchSize)}. Nothing was changed.");
        }

        try
        {
            // The binder changes a nested object in place: one that somebody else holds must not change with it.
            Job = Job with { };
            configuration.Bind(this, binder => binder.ErrorOnUnknownConfiguration = true);
        }
        catch (InvalidOperationException error)
        {
            // The binder's message names the key, and what it must be.
            throw new EnvelopeConfigurationException($"The configuration section '{path}' of a scheduled re-encryption cannot be read: {error.Message}{(error.InnerException is { } inner ? " " + inner.Message : "")} Nothing was changed.", error);
        }
    }

    internal void Validate(string context)
    {
        var wrong = Job is null ? "Job is missing"
            : Interval < TimeSpan.FromMinutes(1) || Interval > TimeSpan.FromDays(7) ? "Interval must be 1 minute to 7 days"
            : Jitter < TimeSpan.Zero || Jitter > TimeSpan.FromHours(12) ? "Jitter must be 0 to 12 hours"
            : MaximumProofAge < TimeSpan.FromHours(1) || MaximumProofAge > TimeSpan.FromDays(365) ? "MaximumProofAge must be 1 hour to 365 days"
            : QuarantineInterval < TimeSpan.FromMinutes(1) || QuarantineInterval > TimeSpan.FromDays(365) ? "QuarantineInterval must be 1 minute to 365 days"
            : Job.Window is not null ? "Job.Window is not used here; set Window instead"
            : null;
        if (wrong is not null)
        {
            throw new EnvelopeConfigurationException($"The scheduled re-encryption of {context} cannot start: {wrong}. Nothing was changed.");
        }

        JobInWindow.Validate();
    }
}

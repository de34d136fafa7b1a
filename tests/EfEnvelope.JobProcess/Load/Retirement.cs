using EfEnvelope.Keys;

namespace EfEnvelope.JobProcess.Load;

/// <summary>Makes keys stale.</summary>
internal static class Retirement
{
    /// <summary>Rotates, or reports compromised, every scope that has a data key.</summary>
    public static async Task RotateAllAsync(LoadContext context, string reason, bool compromise = false)
    {
        var keys = new EnvelopeKeys(context);
        foreach (var scope in (await keys.ListAsync()).Where(k => k.State == KeyState.Active && k.Purpose is KeyPurpose.Field or KeyPurpose.Kek).Select(k => k.Scope).Distinct().ToList())
        {
            _ = compromise ? await keys.ReportCompromisedAsync(EnvelopeScope.Parse(scope), reason) : await keys.RotateAsync(EnvelopeScope.Parse(scope), reason);
        }
    }
}

using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace EfEnvelope.Diagnostics;

/// <summary>The activity source and the meter, both named <c>EfEnvelope</c>. Tags are operations, outcomes and providers: never values, tenants or key bytes.</summary>
internal static class Telemetry
{
    public const string Name = "EfEnvelope";

    private static readonly ActivitySource Activities = new(Name);
    private static readonly Meter Meter = new(Name);

    private static readonly Counter<long> AuditEvents = Meter.CreateCounter<long>("efenvelope.audit.events", "{event}", "Audit events, by event.");
    private static readonly Histogram<double> KeyServiceCalls = Meter.CreateHistogram<double>("efenvelope.kms.duration", "s", "Calls of the key service, by operation, provider and outcome.");
    private static readonly UpDownCounter<long> HeldKeys = Meter.CreateUpDownCounter<long>("efenvelope.keys.held", "{key}", "Unwrapped keys in memory.");
    private static readonly Counter<long> RingConfirmations = Meter.CreateCounter<long>("efenvelope.ring.confirmations", "{query}", "Confirmations of the ring's state, by outcome.");

    public static void Count(string auditEvent) => AuditEvents.Add(1, new KeyValuePair<string, object?>("event", auditEvent));

    public static void Hold(int keys) => HeldKeys.Add(keys);

    public static void Confirmed(bool reached) => RingConfirmations.Add(1, new KeyValuePair<string, object?>("outcome", reached ? "ok" : "unavailable"));

    /// <summary>One call of the key service, as an activity and a measurement.</summary>
    public static async Task<T> CallKeyServiceAsync<T>(string operation, string provider, TimeProvider time, Func<Task<T>> call)
    {
        using var activity = Activities.StartActivity("efenvelope.kms." + operation, ActivityKind.Client);
        activity?.SetTag("efenvelope.provider", provider);
        var started = time.GetTimestamp();
        var outcome = "ok";
        try
        {
            return await call().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            outcome = error switch
            {
                KeyUnavailableException => "unavailable",
                KeyRefusedException => "refused",
                KeyRingTamperedException => "tampered",
                OperationCanceledException => "cancelled",
                _ => "failed",
            };
            activity?.SetStatus(ActivityStatusCode.Error, outcome);
            throw;
        }
        finally
        {
            activity?.SetTag("efenvelope.outcome", outcome);
            KeyServiceCalls.Record(
                time.GetElapsedTime(started).TotalSeconds,
                new KeyValuePair<string, object?>("operation", operation),
                new KeyValuePair<string, object?>("provider", provider),
                new KeyValuePair<string, object?>("outcome", outcome));
        }
    }
}

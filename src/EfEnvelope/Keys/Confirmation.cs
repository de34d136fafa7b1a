namespace EfEnvelope.Keys;

/// <summary>
/// A moment at which the ring's state was known, by both clocks: the monotonic one stands still while the machine sleeps, or the guest that it is is paused, and the other one may be set. What is old by either is old.
/// </summary>
/// <param name="At">Monotonic time stamp.</param>
/// <param name="WallClock">The same moment by the machine's clock.</param>
internal sealed record Confirmation(long At, DateTimeOffset WallClock)
{
    public static readonly Confirmation Never = new(0, DateTimeOffset.MinValue);

    public static Confirmation Now(TimeProvider time) => new(time.GetTimestamp(), time.GetUtcNow());
}

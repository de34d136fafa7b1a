namespace EfEnvelope;

/// <summary>What an import of a key ring did. Immutable.</summary>
/// <param name="Added">Keys that the ring lacked.</param>
/// <param name="Changed">Keys whose state became stricter, whose newer wrapping was taken, or whose tampered row was restored.</param>
/// <param name="Unchanged">Keys that were there as they are.</param>
public sealed record KeyRingImport(long Added, long Changed, long Unchanged);

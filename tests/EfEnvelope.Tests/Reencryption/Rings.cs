using EfEnvelope.Keys;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>Rings that are small enough to be listed.</summary>
internal static class Rings
{
    public static RingSummary Summarize(IReadOnlyList<KeyRingEntry> ring)
    {
        var rowKeys = new RowKeyTally();
        foreach (var key in ring)
        {
            rowKeys.Add(key);
        }

        return new RingSummary([.. ring.Where(e => e.KekId is null)], [.. rowKeys.Sums.Select(s => s.Keys)]);
    }
}

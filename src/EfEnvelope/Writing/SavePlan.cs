using EfEnvelope.Keys;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>The keys of one save: which frame seals the cells of which entry. Made anew for every attempt; disposing lets the keys go.</summary>
internal sealed class SavePlan : IDisposable
{
    private readonly Dictionary<IUpdateEntry, SealingFrame> _frames = new(ReferenceEqualityComparer.Instance);

    /// <summary>Ring rows of new row keys, to be inserted together with their rows.</summary>
    public List<IUpdateEntry> RingEntries { get; } = [];

    public KeyPins Pins { get; } = new();

    public void Add(IUpdateEntry entry, SealingFrame frame) => _frames[entry] = frame;

    /// <summary>The frame of a row, which may consist of several entries (table sharing).</summary>
    public SealingFrame? FindFrame(IReadOnlyList<IUpdateEntry> entries)
    {
        foreach (var entry in entries)
        {
            if (_frames.TryGetValue(entry, out var frame))
            {
                return frame;
            }
        }

        return null;
    }

    public void Dispose() => Pins.Dispose();
}

using EfEnvelope.Keys;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>The keys of one save: which frame seals the cells of which entry. Made anew for every attempt; disposing lets the keys go.</summary>
internal sealed class SavePlan(SealingLease lease) : IDisposable
{
    private readonly Dictionary<IUpdateEntry, SealingFrame> _frames = new(ReferenceEqualityComparer.Instance);
    private Dictionary<object, Guid>? _rowIds;

    /// <summary>Ring rows of new row keys, to be inserted together with their rows.</summary>
    public List<IUpdateEntry> RingEntries { get; } = [];

    public SealingLease Lease => lease;

    public void Add(IUpdateEntry entry, SealingFrame frame) => _frames[entry] = frame;

    /// <summary>Notes the row id of a row whose entity does not know it: by that one its key was chosen.</summary>
    /// <param name="root">The entity of the row.</param>
    /// <param name="rowId">As it was fetched.</param>
    public void AddRowId(object root, Guid rowId) => (_rowIds ??= new(ReferenceEqualityComparer.Instance))[root] = rowId;

    /// <summary>The row id that was fetched for an entity; null where it knows it itself.</summary>
    /// <param name="root">The entity of the row.</param>
    public Guid? FindRowId(object root) => _rowIds is not null && _rowIds.TryGetValue(root, out var rowId) ? rowId : null;

    /// <summary>The frame of an entry; null where the save writes no encrypted cell of it.</summary>
    public SealingFrame? FindFrame(IUpdateEntry entry) => _frames.GetValueOrDefault(entry);

    /// <summary>
    /// The frame that the documents of a row are rendered in. The row may consist of several entries (table sharing), which may even be of entities with data keys of their own: then only one of those has documents.
    /// </summary>
    /// <exception cref="EnvelopeConfigurationException">Two of them have.</exception>
    public SealingFrame? FindFrame(IReadOnlyList<IUpdateEntry> entries)
    {
        SealingFrame? first = null, documents = null;
        foreach (var entry in entries)
        {
            if (!_frames.TryGetValue(entry, out var frame))
            {
                continue;
            }

            first ??= frame;
            if (entries.Count == 1 || EncryptedTypeInfo.Of(entry.EntityType) is not ({ InJsonDocument: true } or { HasJsonDocument: true }))
            {
                continue;
            }

            if (documents is not null && documents.Key != frame.Key)
            {
                throw new EnvelopeConfigurationException(
                    $"{entry.EntityType.DisplayName()} shares its table row with an entity of another data key, and both hold JSON documents with encrypted members. Declare one data key for both, or map one of them to a table of its own. Nothing was written.")
                {
                    Entity = entry.EntityType.DisplayName(),
                };
            }

            documents = frame;
        }

        return documents ?? first;
    }

    public void Dispose() => lease.Dispose();
}

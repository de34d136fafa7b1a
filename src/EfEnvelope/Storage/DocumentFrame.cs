using System.Diagnostics.CodeAnalysis;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>
/// A JSON document that a reader handed out, and that EF parses now. It may outlive that on a thread which meanwhile does something else, while its reader goes on elsewhere: the
/// lock keeps the two apart, and the frame is over before its reader moves.
/// </summary>
internal sealed class DocumentFrame(ICellSource source, int ordinal)
{
    private readonly Lock _lock = new();
    private bool _over;

    /// <summary>Where refusals are told.</summary>
    public Diagnostics.EnvelopeAudit Audit => source.Audit;

    /// <summary>The reader moves on, or is done: from now on the frame resolves nothing.</summary>
    public void End()
    {
        lock (_lock)
        {
            _over = true;
        }
    }

    /// <summary>
    /// The key of a member; false where the document's reader never met the key, which then belongs to a buffered row of another reader. Throws the typed error
    /// where the reader met a key that does not open.
    /// </summary>
    public bool TryResolve(Guid keyId, ColumnDeclaration column, [MaybeNullWhen(false)] out RingKey key)
    {
        lock (_lock)
        {
            if (_over)
            {
                key = null;
                return false;
            }

            if (source.TryRecall(keyId, column, ordinal, out key))
            {
                return true;
            }

            if (!source.HasMet(keyId))
            {
                key = null;
                return false;
            }

            key = source.GetKey(keyId, column, ordinal);
            if (column.AcceptsScope(key.Scope))
            {
                source.Remember(column, ordinal, key);
            }

            return true;
        }
    }
}

using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Reading;

/// <content>What is not handed out, and why.</content>
internal sealed partial class EnvelopeDataReader
{
    /// <summary>
    /// A cell that EF buffers is opened later, by its key's id alone: one that this ring does not open, but another ring or context of the process would, is refused now, since its row was compared with nothing. Keys that do not open
    /// anywhere are said no to when their cell is opened, and other rows read on.
    /// </summary>
    private void RefuseForeign()
    {
        foreach (var keyId in _unopenable)
        {
            var error = Why(keyId);
            if (error is EnvelopeRefusedException)
            {
                Audit.ValueRefused(null, keyId);
                throw error;
            }

            if (error is KeyNotFoundInRingException or KeyRingTamperedException || KeyRingRegistry.TryResolveForOpening(keyId, out _))
            {
                throw error;
            }
        }
    }

    private EnvelopeEncryptionException Why(Guid keyId, ColumnDeclaration? column = null)
    {
        try
        {
            _ring.GetForOpening(keyId, _session.TransientKeys);
            return new KeyUnavailableException($"Key {keyId}{(column is null ? "" : $" of column '{column.ColumnId}'")} was not loaded. Retry the query.") { KeyId = keyId, ColumnId = column?.ColumnId };
        }
        catch (EnvelopeEncryptionException error)
        {
            return error;
        }
    }

    private EnvelopeRefusedException Moved(Guid keyId, EnvelopeCell cell)
    {
        Audit.ValueRefused(cell.Column?.ColumnId, keyId);
        return new($"A value of {cell.Display} (key {keyId}) was sealed for another tenant, subject or row than the one it stands in: it was moved or forged. It is not returned; the stored value is untouched.")
        {
            Entity = cell.Type?.Root.Name is { } name ? name[(name.LastIndexOf('.') + 1)..] : null,
            Property = cell.Display,
            ColumnId = cell.Column?.ColumnId,
            KeyId = keyId,
        };
    }

    private EnvelopeRefusedException Broken(EnvelopeCell cell)
    {
        Audit.PlaintextRefused(cell.Display);
        return new($"The JSON document {cell.Display} is broken, or an encrypted member of it holds something else than text armour. It is not returned; the stored value is untouched. Restore it, or write the row anew.")
        {
            Entity = cell.Type?.Root.DisplayName(),
            Property = cell.Display[(cell.Display.LastIndexOf('.') + 1)..],
        };
    }
}

using EfEnvelope.Cryptography;
using EfEnvelope.Diagnostics;

namespace EfEnvelope.Keys;

/// <summary>What the ring tells about itself: every call of the key service is measured, every tampering and refusal audited where it is found.</summary>
internal sealed partial class KeyRing
{
    private const int MaxWitnessed = 100_000;

    private readonly EnvelopeAudit _audit;

    private async Task<T> CallAsync<T>(string operation, Guid? keyId, Func<Task<T>> call)
    {
        try
        {
            return await Telemetry.CallKeyServiceAsync(operation, _kms.Provider, _time, call).ConfigureAwait(false);
        }
        catch (KeyRefusedException)
        {
            _audit.KeyRefused(keyId, _kms.Provider);
            throw;
        }
        catch (KeyRingTamperedException)
        {
            _audit.RingTampered(keyId);
            throw;
        }
        catch (KeyUnavailableException)
        {
            _audit.KeyServiceUnavailable(keyId, _kms.Provider);
            throw;
        }
    }

    private bool IsGenuine(DataKey mac, Guid ringId, KeyRingEntry entry)
    {
        if (KeyMetadataMac.IsGenuine(mac, ringId, entry))
        {
            return true;
        }

        _audit.RingTampered(entry.Id);
        return false;
    }

    /// <exception cref="KeyRingTamperedException">The row is not what EfEnvelope wrote.</exception>
    private void Verify(DataKey mac, Guid ringId, KeyRingEntry entry)
    {
        if (!IsGenuine(mac, ringId, entry))
        {
            throw KeyMetadataMac.Tampered(entry.Id);
        }
    }

    /// <summary>Remembers the revision of a changed row.</summary>
    private void Witness(KeyRingEntry entry)
    {
        if (_witnessed.Count >= MaxWitnessed)
        {
            _witnessed.Clear();
        }

        _witnessed[entry.Id] = entry.Revision;
    }

    private KeyRingTamperedException Tampered(Guid id, string message, Exception? cause = null)
    {
        _audit.RingTampered(id);
        return new KeyRingTamperedException(message, cause) { KeyId = id };
    }

    private void AuditChange(KeyRingEntry entry)
    {
        switch (entry.State)
        {
            case KeyState.Compromised:
                _audit.KeyCompromised(entry.Id);
                break;
            case KeyState.Revoked:
                _audit.KeyRevoked(entry.Id);
                break;
            case KeyState.PendingDestruction when entry.CompromisedAt > entry.StateChangedAt:
                _audit.KeyCompromised(entry.Id);
                break;
            case KeyState.PendingDestruction:
                _audit.KeyDestructionScheduled(entry.Id);
                break;
            case KeyState.Destroyed:
                _audit.KeyErased(entry.Id);
                break;
        }
    }
}

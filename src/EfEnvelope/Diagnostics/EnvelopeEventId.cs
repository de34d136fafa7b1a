using Microsoft.Extensions.Logging;

namespace EfEnvelope;

/// <summary>
/// The event ids of EfEnvelope's log category <c>EfEnvelope</c>: stable, so that alerts can be built on them. Every event names key id, column id and outcome as far as they are known;
/// none holds a value, a tenant, a subject or key bytes. The same events are counted by the meter <c>EfEnvelope</c>, instrument <c>efenvelope.audit.events</c>.
/// </summary>
public static class EnvelopeEventId
{
    internal const int KeyCreatedId = 45100;
    internal const int KeyRotatedId = 45101;
    internal const int KeyCompromisedId = 45102;
    internal const int KeyRevokedId = 45103;
    internal const int KeyErasedId = 45104;
    internal const int KeyRewrappedId = 45105;
    internal const int RingExportedId = 45106;
    internal const int RingImportedId = 45107;
    internal const int RingReplacedId = 45108;
    internal const int KeyDestructionScheduledId = 45109;
    internal const int KeyDestructionCancelledId = 45110;
    internal const int QuarantineReleasedId = 45111;
    internal const int DatabaseForgottenId = 45112;
    internal const int ColumnForgottenId = 45113;
    internal const int RingTamperedId = 45200;
    internal const int KeyRefusedId = 45201;
    internal const int ValueRefusedId = 45202;
    internal const int PlaintextRefusedId = 45203;
    internal const int KeyServiceUnavailableId = 45204;

    /// <summary>A data key was made. Information.</summary>
    public static EventId KeyCreated { get; } = new(KeyCreatedId, nameof(KeyCreated));

    /// <summary>A scope's data key was rotated. Information.</summary>
    public static EventId KeyRotated { get; } = new(KeyRotatedId, nameof(KeyRotated));

    /// <summary>A key was reported compromised. Warning.</summary>
    public static EventId KeyCompromised { get; } = new(KeyCompromisedId, nameof(KeyCompromised));

    /// <summary>A key was revoked: it opens nothing any more. Warning.</summary>
    public static EventId KeyRevoked { get; } = new(KeyRevokedId, nameof(KeyRevoked));

    /// <summary>A key was destroyed: what it sealed is erased. Warning.</summary>
    public static EventId KeyErased { get; } = new(KeyErasedId, nameof(KeyErased));

    /// <summary>A key was scheduled for destruction: it neither seals nor opens. Warning.</summary>
    public static EventId KeyDestructionScheduled { get; } = new(KeyDestructionScheduledId, nameof(KeyDestructionScheduled));

    /// <summary>A scheduled destruction was cancelled. Warning.</summary>
    public static EventId KeyDestructionCancelled { get; } = new(KeyDestructionCancelledId, nameof(KeyDestructionCancelled));

    /// <summary>A key was wrapped anew by the key service. Information.</summary>
    public static EventId KeyRewrapped { get; } = new(KeyRewrappedId, nameof(KeyRewrapped));

    /// <summary>The wrapped ring was exported. Warning.</summary>
    public static EventId RingExported { get; } = new(RingExportedId, nameof(RingExported));

    /// <summary>A wrapped ring was imported. Warning.</summary>
    public static EventId RingImported { get; } = new(RingImportedId, nameof(RingImported));

    /// <summary>The database holds another ring than before, or went back in time: everything held was dropped. Warning.</summary>
    public static EventId RingReplaced { get; } = new(RingReplacedId, nameof(RingReplaced));

    /// <summary>A cell that does not open was taken off the quarantine list by decision; it still counts in every census. Warning.</summary>
    public static EventId QuarantineReleased { get; } = new(QuarantineReleasedId, nameof(QuarantineReleased));

    /// <summary>A database was taken off the list of those that the ring serves: no census names it any more. Warning.</summary>
    public static EventId DatabaseForgotten { get; } = new(DatabaseForgottenId, nameof(DatabaseForgotten));

    /// <summary>A column that the database does not have was taken off the ring's list of columns: no proof waits for it any more. Warning.</summary>
    public static EventId ColumnForgotten { get; } = new(ColumnForgottenId, nameof(ColumnForgotten));

    /// <summary>A row of the ring is not what EfEnvelope wrote. Error.</summary>
    public static EventId RingTampered { get; } = new(RingTamperedId, nameof(RingTampered));

    /// <summary>The key service refused a key. Error.</summary>
    public static EventId KeyRefused { get; } = new(KeyRefusedId, nameof(KeyRefused));

    /// <summary>A value is no genuine envelope of its place: forged, moved or damaged. Error.</summary>
    public static EventId ValueRefused { get; } = new(ValueRefusedId, nameof(ValueRefused));

    /// <summary>A value where an envelope is expected is none: planted plaintext, or a foreign value. Error.</summary>
    public static EventId PlaintextRefused { get; } = new(PlaintextRefusedId, nameof(PlaintextRefused));

    /// <summary>The key service could not be reached. Warning.</summary>
    public static EventId KeyServiceUnavailable { get; } = new(KeyServiceUnavailableId, nameof(KeyServiceUnavailable));
}

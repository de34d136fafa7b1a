using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace EfEnvelope.Diagnostics;

/// <summary>
/// Where a runtime's audit events go: to the log and to the meter. Key ids, column ids and outcomes only. One per runtime, and runtimes outlive containers: the logger of the
/// application that used it last is written to. Thread safe.
/// </summary>
internal sealed partial class EnvelopeAudit
{
    public const string Category = "EfEnvelope";

    private static volatile EnvelopeAudit _latest = new(NullLoggerFactory.Instance);

    private volatile ILoggerFactory _factory;
    private volatile ILogger _logger;

    public EnvelopeAudit(ILoggerFactory factory)
    {
        _factory = factory;
        _logger = factory.CreateLogger(Category);
    }

    /// <summary>The audit of the runtime that was used last: for values whose query is not known any more.</summary>
    public static EnvelopeAudit Latest => _latest;

    /// <summary>An application uses the runtime: its log gets the events.</summary>
    public void Attach(ILoggerFactory? factory)
    {
        if (factory is not null && !ReferenceEquals(factory, _factory) && factory is not NullLoggerFactory)
        {
            _logger = factory.CreateLogger(Category);
            _factory = factory;
        }

        _latest = this;
    }

    public void KeyCreated(Guid keyId, string purpose, int version)
    {
        Telemetry.Count(nameof(KeyCreated));
        LogKeyCreated(_logger, keyId, purpose, version);
    }

    public void KeyRotated(Guid keyId, string purpose, int version)
    {
        Telemetry.Count(nameof(KeyRotated));
        LogKeyRotated(_logger, keyId, purpose, version);
    }

    public void KeyCompromised(Guid keyId)
    {
        Telemetry.Count(nameof(KeyCompromised));
        LogKeyCompromised(_logger, keyId);
    }

    public void KeyRevoked(Guid keyId)
    {
        Telemetry.Count(nameof(KeyRevoked));
        LogKeyRevoked(_logger, keyId);
    }

    public void KeyDestructionScheduled(Guid keyId)
    {
        Telemetry.Count(nameof(KeyDestructionScheduled));
        LogKeyDestructionScheduled(_logger, keyId);
    }

    public void KeyDestructionCancelled(Guid keyId)
    {
        Telemetry.Count(nameof(KeyDestructionCancelled));
        LogKeyDestructionCancelled(_logger, keyId);
    }

    public void DatabaseForgotten(string database)
    {
        Telemetry.Count(nameof(DatabaseForgotten));
        LogDatabaseForgotten(_logger, database);
    }

    public void ColumnForgotten(string table, string column)
    {
        Telemetry.Count(nameof(ColumnForgotten));
        LogColumnForgotten(_logger, table, column);
    }

    public void KeyErased(Guid keyId)
    {
        Telemetry.Count(nameof(KeyErased));
        LogKeyErased(_logger, keyId);
    }

    public void KeyRewrapped(Guid keyId)
    {
        Telemetry.Count(nameof(KeyRewrapped));
        LogKeyRewrapped(_logger, keyId);
    }

    public void QuarantineReleased(string table, string column, Guid? keyId)
    {
        Telemetry.Count(nameof(QuarantineReleased));
        LogQuarantineReleased(_logger, table, column, keyId);
    }

    public void RingExported(Guid ringId, long keys)
    {
        Telemetry.Count(nameof(RingExported));
        LogRingExported(_logger, ringId, keys);
    }

    public void RingImported(Guid ringId, long keys)
    {
        Telemetry.Count(nameof(RingImported));
        LogRingImported(_logger, ringId, keys);
    }

    public void RingReplaced(Guid ringId)
    {
        Telemetry.Count(nameof(RingReplaced));
        LogRingReplaced(_logger, ringId);
    }

    public void RingTampered(Guid? keyId)
    {
        Telemetry.Count(nameof(RingTampered));
        LogRingTampered(_logger, keyId);
    }

    public void KeyRefused(Guid? keyId, string provider)
    {
        Telemetry.Count(nameof(KeyRefused));
        LogKeyRefused(_logger, keyId, provider);
    }

    public void ValueRefused(string? columnId, Guid? keyId)
    {
        Telemetry.Count(nameof(ValueRefused));
        LogValueRefused(_logger, columnId, keyId);
    }

    public void PlaintextRefused(string columnId)
    {
        Telemetry.Count(nameof(PlaintextRefused));
        LogPlaintextRefused(_logger, columnId);
    }

    public void KeyServiceUnavailable(Guid? keyId, string provider)
    {
        Telemetry.Count(nameof(KeyServiceUnavailable));
        LogKeyServiceUnavailable(_logger, keyId, provider);
    }

    [LoggerMessage(EnvelopeEventId.KeyCreatedId, LogLevel.Information, "Key {KeyId} was made (purpose {Purpose}, version {Version}).", EventName = nameof(KeyCreated))]
    private static partial void LogKeyCreated(ILogger logger, Guid keyId, string purpose, int version);

    [LoggerMessage(EnvelopeEventId.KeyRotatedId, LogLevel.Information, "Key {KeyId} takes over by rotation (purpose {Purpose}, version {Version}).", EventName = nameof(KeyRotated))]
    private static partial void LogKeyRotated(ILogger logger, Guid keyId, string purpose, int version);

    [LoggerMessage(EnvelopeEventId.KeyCompromisedId, LogLevel.Warning, "Key {KeyId} was reported compromised: it seals nothing any more.", EventName = nameof(KeyCompromised))]
    private static partial void LogKeyCompromised(ILogger logger, Guid keyId);

    [LoggerMessage(EnvelopeEventId.KeyRevokedId, LogLevel.Warning, "Key {KeyId} was revoked: it opens nothing any more.", EventName = nameof(KeyRevoked))]
    private static partial void LogKeyRevoked(ILogger logger, Guid keyId);

    [LoggerMessage(EnvelopeEventId.KeyDestructionScheduledId, LogLevel.Warning, "Key {KeyId} is scheduled for destruction: it neither seals nor opens.", EventName = nameof(KeyDestructionScheduled))]
    private static partial void LogKeyDestructionScheduled(ILogger logger, Guid keyId);

    [LoggerMessage(EnvelopeEventId.KeyDestructionCancelledId, LogLevel.Warning, "The destruction of key {KeyId} was cancelled.", EventName = nameof(KeyDestructionCancelled))]
    private static partial void LogKeyDestructionCancelled(ILogger logger, Guid keyId);

    [LoggerMessage(EnvelopeEventId.KeyErasedId, LogLevel.Warning, "Key {KeyId} was destroyed: what it sealed is erased.", EventName = nameof(KeyErased))]
    private static partial void LogKeyErased(ILogger logger, Guid keyId);

    [LoggerMessage(EnvelopeEventId.KeyRewrappedId, LogLevel.Information, "Key {KeyId} was wrapped anew.", EventName = nameof(KeyRewrapped))]
    private static partial void LogKeyRewrapped(ILogger logger, Guid keyId);

    [LoggerMessage(EnvelopeEventId.QuarantineReleasedId, LogLevel.Warning, "A cell of {Table}.{Column} (key {KeyId}) that does not open was taken off the quarantine list by decision.", EventName = nameof(QuarantineReleased))]
    private static partial void LogQuarantineReleased(ILogger logger, string table, string column, Guid? keyId);

    [LoggerMessage(EnvelopeEventId.DatabaseForgottenId, LogLevel.Warning, "Database {Database} was taken off the ring's list: no census counts it any more.", EventName = nameof(DatabaseForgotten))]
    private static partial void LogDatabaseForgotten(ILogger logger, string database);

    [LoggerMessage(EnvelopeEventId.ColumnForgottenId, LogLevel.Warning, "Column {Table}.{Column}, which the database does not have, was taken off the ring's list: no proof waits for it any more.", EventName = nameof(EnvelopeEventId.ColumnForgotten))]
    private static partial void LogColumnForgotten(ILogger logger, string table, string column);

    [LoggerMessage(EnvelopeEventId.RingExportedId, LogLevel.Warning, "Key ring {RingId} was exported, wrapped ({Keys} keys).", EventName = nameof(RingExported))]
    private static partial void LogRingExported(ILogger logger, Guid ringId, long keys);

    [LoggerMessage(EnvelopeEventId.RingImportedId, LogLevel.Warning, "Key ring {RingId} was imported ({Keys} keys written).", EventName = nameof(RingImported))]
    private static partial void LogRingImported(ILogger logger, Guid ringId, long keys);

    [LoggerMessage(EnvelopeEventId.RingReplacedId, LogLevel.Warning, "Key ring {RingId} is another one than before, or an earlier state of it: every held key was dropped.", EventName = nameof(RingReplaced))]
    private static partial void LogRingReplaced(ILogger logger, Guid ringId);

    [LoggerMessage(EnvelopeEventId.RingTamperedId, LogLevel.Error, "The key ring's row of key {KeyId} is not genuine: the key is not used.", EventName = nameof(RingTampered))]
    private static partial void LogRingTampered(ILogger logger, Guid? keyId);

    [LoggerMessage(EnvelopeEventId.KeyRefusedId, LogLevel.Error, "The key service {Provider} refuses key {KeyId}.", EventName = nameof(KeyRefused))]
    private static partial void LogKeyRefused(ILogger logger, Guid? keyId, string provider);

    [LoggerMessage(EnvelopeEventId.ValueRefusedId, LogLevel.Error, "A value of column {ColumnId} (key {KeyId}) is no genuine envelope of its place: it is not returned.", EventName = nameof(ValueRefused))]
    private static partial void LogValueRefused(ILogger logger, string? columnId, Guid? keyId);

    [LoggerMessage(EnvelopeEventId.PlaintextRefusedId, LogLevel.Error, "A value of column {ColumnId} is no envelope (planted plaintext, or foreign): it is not returned.", EventName = nameof(PlaintextRefused))]
    private static partial void LogPlaintextRefused(ILogger logger, string columnId);

    [LoggerMessage(EnvelopeEventId.KeyServiceUnavailableId, LogLevel.Warning, "The key service {Provider} cannot be reached (key {KeyId}).", EventName = nameof(KeyServiceUnavailable))]
    private static partial void LogKeyServiceUnavailable(ILogger logger, Guid? keyId, string provider);
}

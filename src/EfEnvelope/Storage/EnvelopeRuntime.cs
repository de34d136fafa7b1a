using EfEnvelope.Diagnostics;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Storage;

/// <summary>
/// One per process and equal configuration, however often options are built: the key service and the rings' policy. Immutable; the rings that it
/// opened live in the <see cref="KeyRingRegistry"/> under it.
/// </summary>
internal sealed class EnvelopeRuntime(
    IKeyManagementService keyManagement,
    KeyRingOptions ringOptions,
    IReadOnlyDictionary<string, string> encryptionContext,
    TimeProvider timeProvider,
    ILoggerFactory loggerFactory)
{
    public IKeyManagementService KeyManagement => keyManagement;

    public KeyRingOptions RingOptions => ringOptions;

    /// <summary>The user's own fixed pairs, added to every encryption context (for IAM conditions).</summary>
    public IReadOnlyDictionary<string, string> EncryptionContext => encryptionContext;

    public TimeProvider TimeProvider => timeProvider;

    public EnvelopeAudit Audit { get; } = new(loggerFactory);
}

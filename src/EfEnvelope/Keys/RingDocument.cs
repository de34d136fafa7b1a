using System.Text.Json;
using System.Text.Json.Serialization;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// The wrapped ring as a document, for disaster recovery: JSON Lines, so that a ring of any size is written and read without being held. The first line names the ring, one line a key follows, the ring's mac key as
/// the first of them, the last line authenticates the whole. Holds wrapped keys only: without the key service it opens nothing.
/// </summary>
internal static class RingDocument
{
    public const string CurrentFormat = "EfEnvelope/ring-export/v1";

    public static JsonSerializerOptions Json { get; } = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectRequiredConstructorParameters = true,
        AllowDuplicateProperties = false,
    };

    /// <summary>The first line: whose keys follow.</summary>
    internal sealed record Header
    {
        public required string Format { get; init; }

        public required Guid Ring { get; init; }

        public required byte[] Salt { get; init; }

        public required long Epoch { get; init; }

        public required DateTimeOffset ExportedAt { get; init; }

        [JsonIgnore]
        public RingIdentity Identity => new(Ring, Salt, Epoch);
    }

    /// <summary>The last line: how many keys there were, and the HMAC-SHA-256 of <see cref="RingDocumentDigest"/> under the ring's mac key.</summary>
    internal sealed record Trailer
    {
        public required long Keys { get; init; }

        public required byte[] Mac { get; init; }
    }

    /// <summary>A key, in a line of its own; times are UTC ticks.</summary>
    internal sealed record Row
    {
        public required Guid Id { get; init; }

        public required string Scope { get; init; }

        public required int Purpose { get; init; }

        public required int Version { get; init; }

        public required int State { get; init; }

        public Guid? Kek { get; init; }

        public required byte[] Wrapped { get; init; }

        public string? RootKey { get; init; }

        public string? KeyMaterial { get; init; }

        public required long CreatedAt { get; init; }

        public long? ActivatedAt { get; init; }

        public long? StateChangedAt { get; init; }

        public string? Reason { get; init; }

        public string? ChangedBy { get; init; }

        public long? CompromisedAt { get; init; }

        public long? DestructionDueAt { get; init; }

        public int? FormerState { get; init; }

        public required int Revision { get; init; }

        public required byte[] Mac { get; init; }

        public static Row Of(KeyRingEntry entry) => new()
        {
            Id = entry.Id,
            Scope = entry.Scope,
            Purpose = (int)entry.Purpose,
            Version = entry.Version,
            State = (int)entry.State,
            Kek = entry.KekId,
            Wrapped = entry.Wrapped,
            RootKey = entry.RootKeyId,
            KeyMaterial = entry.KeyMaterialId,
            CreatedAt = entry.CreatedAt.UtcTicks,
            ActivatedAt = entry.ActivatedAt?.UtcTicks,
            StateChangedAt = entry.StateChangedAt?.UtcTicks,
            Reason = entry.Reason,
            ChangedBy = entry.ChangedBy,
            CompromisedAt = entry.CompromisedAt?.UtcTicks,
            DestructionDueAt = entry.DestructionDueAt?.UtcTicks,
            FormerState = (int?)entry.FormerState,
            Revision = entry.Revision,
            Mac = entry.Mac,
        };

        public KeyRingEntry ToEntry() => new()
        {
            Id = Id,
            Scope = Scope ?? throw new JsonException(),
            Purpose = (KeyPurpose)Purpose,
            Version = Version,
            State = (KeyState)State,
            KekId = Kek,
            Wrapped = Wrapped ?? throw new JsonException(),
            RootKeyId = RootKey,
            KeyMaterialId = KeyMaterial,
            CreatedAt = new DateTimeOffset(CreatedAt, TimeSpan.Zero),
            ActivatedAt = ActivatedAt is { } activated ? new DateTimeOffset(activated, TimeSpan.Zero) : null,
            StateChangedAt = StateChangedAt is { } changed ? new DateTimeOffset(changed, TimeSpan.Zero) : null,
            Reason = Reason,
            ChangedBy = ChangedBy,
            CompromisedAt = CompromisedAt is { } compromised ? new DateTimeOffset(compromised, TimeSpan.Zero) : null,
            DestructionDueAt = DestructionDueAt is { } due ? new DateTimeOffset(due, TimeSpan.Zero) : null,
            FormerState = (KeyState?)FormerState,
            Revision = Revision,
            Mac = Mac ?? throw new JsonException(),
        };
    }
}

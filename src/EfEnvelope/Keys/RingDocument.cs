using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// The wrapped ring as a document, for disaster recovery: JSON, one format version. Holds wrapped keys only: without the key service it opens nothing. Authenticated as a whole by HMAC-SHA-256 under the
/// ring's mac key over the ring's UUID, salt, epoch and the SHA-256 of its rows in order, and row by row by the rows' own macs.
/// </summary>
internal sealed record RingDocument
{
    public const string CurrentFormat = "EfEnvelope/ring-export/v1";
    private const int MaxKeys = 50_000_000;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectRequiredConstructorParameters = true,
        WriteIndented = true,
    };

    public required string Format { get; init; }

    public required Guid Ring { get; init; }

    public required byte[] Salt { get; init; }

    public required long Epoch { get; init; }

    public required DateTimeOffset ExportedAt { get; init; }

    public required IReadOnlyList<Row> Keys { get; init; }

    public required byte[] Mac { get; init; }

    [JsonIgnore]
    public RingIdentity Identity => new(Ring, Salt, Epoch);

    public static RingDocument Create(RingIdentity identity, IReadOnlyList<KeyRingEntry> entries, DateTimeOffset now, DataKey macKey)
    {
        var document = new RingDocument
        {
            Format = CurrentFormat,
            Ring = identity.Id,
            Salt = identity.Salt,
            Epoch = identity.Epoch,
            ExportedAt = now,
            Keys = [.. entries.Select(Row.Of)],
            Mac = [],
        };
        return document with { Mac = KeyMetadataMac.Compute(macKey, document.Canonical(entries)) };
    }

    /// <exception cref="EnvelopeConfigurationException">It is no export of a ring, or of a format that this version does not know.</exception>
    public static async Task<(RingDocument Document, IReadOnlyList<KeyRingEntry> Entries)> ReadAsync(Stream source, CancellationToken cancellationToken)
    {
        try
        {
            var document = await JsonSerializer.DeserializeAsync<RingDocument>(source, Json, cancellationToken).ConfigureAwait(false)
                ?? throw new JsonException();
            if (document.Format != CurrentFormat)
            {
                throw new EnvelopeConfigurationException(
                    $"The document is a ring export of another format than '{CurrentFormat}'. Import it with the version of EfEnvelope that wrote it, or a newer one. Nothing was written.");
            }

            if (document.Salt is not { Length: 16 } || document.Mac is not { Length: 32 } || document.Keys is not { Count: <= MaxKeys } rows || rows.Any(r => r is null))
            {
                throw new JsonException();
            }

            return (document, [.. rows.Select(r => r.ToEntry())]);
        }
        catch (Exception error) when (error is JsonException or FormatException or ArgumentOutOfRangeException or NotSupportedException)
        {
            throw new EnvelopeConfigurationException("The document is no key ring export, or is truncated or damaged. Take another copy. Nothing was written.", error);
        }
    }

    public Task WriteAsync(Stream target, CancellationToken cancellationToken) => JsonSerializer.SerializeAsync(target, this, Json, cancellationToken);

    public bool IsGenuine(DataKey macKey, IReadOnlyList<KeyRingEntry> entries)
        => CryptographicOperations.FixedTimeEquals(KeyMetadataMac.Compute(macKey, Canonical(entries)), Mac);

    private byte[] Canonical(IReadOnlyList<KeyRingEntry> entries)
    {
        using var rows = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> number = stackalloc byte[8];
        foreach (var entry in entries)
        {
            var row = KeyMetadataMac.Canonical(Ring, entry);
            BinaryPrimitives.WriteInt64BigEndian(number, row.Length);
            rows.AppendData(number);
            rows.AppendData(row);
            BinaryPrimitives.WriteInt64BigEndian(number, entry.Mac.Length);
            rows.AppendData(number);
            rows.AppendData(entry.Mac);
        }

        using var bytes = new MemoryStream(128);
        bytes.Write("EfEnvelope/v1/ring-export\0"u8);
        bytes.Write(Ring.ToByteArray(bigEndian: true));
        bytes.Write(Salt);
        foreach (var value in new[] { Epoch, ExportedAt.UtcTicks, entries.Count })
        {
            BinaryPrimitives.WriteInt64BigEndian(number, value);
            bytes.Write(number);
        }

        bytes.Write(rows.GetHashAndReset());
        return bytes.ToArray();
    }

    /// <summary>A row of the ring; times are UTC ticks.</summary>
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

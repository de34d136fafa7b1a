using System.Data.Common;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Storage.Ring;

/// <summary>Between the ring's entries and the rows of its table.</summary>
internal static class KeyRows
{
    /// <summary>Properties of a row in the order in which <see cref="Read"/> takes them; the epoch of its last change stands apart.</summary>
    public static readonly string[] Columns =
    [
        nameof(EnvelopeKeyRow.Id), nameof(EnvelopeKeyRow.Scope), nameof(EnvelopeKeyRow.Purpose), nameof(EnvelopeKeyRow.Version), nameof(EnvelopeKeyRow.State),
        nameof(EnvelopeKeyRow.KekId), nameof(EnvelopeKeyRow.Wrapped), nameof(EnvelopeKeyRow.RootKeyId), nameof(EnvelopeKeyRow.KeyMaterialId), nameof(EnvelopeKeyRow.CreatedAt),
        nameof(EnvelopeKeyRow.ActivatedAt), nameof(EnvelopeKeyRow.StateChangedAt), nameof(EnvelopeKeyRow.Reason), nameof(EnvelopeKeyRow.Revision), nameof(EnvelopeKeyRow.Mac),
        nameof(EnvelopeKeyRow.ChangedBy), nameof(EnvelopeKeyRow.CompromisedAt), nameof(EnvelopeKeyRow.DestructionDueAt), nameof(EnvelopeKeyRow.FormerState),
    ];

    /// <summary>The entry that the reader stands on; its columns are <see cref="Columns"/>.</summary>
    /// <exception cref="KeyRingTamperedException">A value is of another type or range than its column's.</exception>
    public static KeyRingEntry Read(DbDataReader reader, TableSql keys) => ReadTyped(reader, keys, ReadRow);

    /// <summary>A row's values, by property name.</summary>
    public static object? Value(KeyRingEntry entry, string column) => column switch
    {
        nameof(EnvelopeKeyRow.Id) => entry.Id,
        nameof(EnvelopeKeyRow.Scope) => entry.Scope,
        nameof(EnvelopeKeyRow.Purpose) => (int)entry.Purpose,
        nameof(EnvelopeKeyRow.Version) => entry.Version,
        nameof(EnvelopeKeyRow.State) => (int)entry.State,
        nameof(EnvelopeKeyRow.KekId) => entry.KekId,
        nameof(EnvelopeKeyRow.Wrapped) => entry.Wrapped,
        nameof(EnvelopeKeyRow.RootKeyId) => entry.RootKeyId,
        nameof(EnvelopeKeyRow.KeyMaterialId) => entry.KeyMaterialId,
        nameof(EnvelopeKeyRow.CreatedAt) => entry.CreatedAt.UtcTicks,
        nameof(EnvelopeKeyRow.ActivatedAt) => entry.ActivatedAt?.UtcTicks,
        nameof(EnvelopeKeyRow.StateChangedAt) => entry.StateChangedAt?.UtcTicks,
        nameof(EnvelopeKeyRow.Reason) => entry.Reason,
        nameof(EnvelopeKeyRow.Revision) => entry.Revision,
        nameof(EnvelopeKeyRow.Mac) => entry.Mac,
        nameof(EnvelopeKeyRow.ChangedBy) => entry.ChangedBy,
        nameof(EnvelopeKeyRow.CompromisedAt) => entry.CompromisedAt?.UtcTicks,
        nameof(EnvelopeKeyRow.DestructionDueAt) => entry.DestructionDueAt?.UtcTicks,
        nameof(EnvelopeKeyRow.FormerState) => (int?)entry.FormerState,
        nameof(EnvelopeKeyRow.ChangedEpoch) => 0L,
        _ => throw new ArgumentOutOfRangeException(nameof(column)),
    };

    /// <summary>A row that was changed so that it is none any more (SQLite lets a column hold any storage class) is told like one whose metadata does not authenticate.</summary>
    public static T ReadTyped<T>(DbDataReader reader, TableSql table, Func<DbDataReader, TableSql, T> read)
    {
        try
        {
            return read(reader, table);
        }
        catch (Exception error) when (error is InvalidCastException or FormatException or OverflowException or ArgumentException)
        {
            throw new KeyRingTamperedException(
                $"A row of the key ring holds a value of another type or range than its column's ({error.GetType().Name}): it was changed by somebody else than EfEnvelope. No key of the query is used. Restore the row.");
        }
    }

    private static KeyRingEntry ReadRow(DbDataReader reader, TableSql keys) => new()
    {
        Id = keys.Read<Guid>(reader, 0, nameof(EnvelopeKeyRow.Id)),
        Scope = keys.Read<string>(reader, 1, nameof(EnvelopeKeyRow.Scope)),
        Purpose = (KeyPurpose)keys.Read<int>(reader, 2, nameof(EnvelopeKeyRow.Purpose)),
        Version = keys.Read<int>(reader, 3, nameof(EnvelopeKeyRow.Version)),
        State = (KeyState)keys.Read<int>(reader, 4, nameof(EnvelopeKeyRow.State)),
        KekId = reader.IsDBNull(5) ? null : keys.Read<Guid>(reader, 5, nameof(EnvelopeKeyRow.KekId)),
        Wrapped = keys.Read<byte[]>(reader, 6, nameof(EnvelopeKeyRow.Wrapped)),
        RootKeyId = keys.Read<string?>(reader, 7, nameof(EnvelopeKeyRow.RootKeyId)),
        KeyMaterialId = keys.Read<string?>(reader, 8, nameof(EnvelopeKeyRow.KeyMaterialId)),
        CreatedAt = Time(reader.GetInt64(9)),
        ActivatedAt = reader.IsDBNull(10) ? null : Time(reader.GetInt64(10)),
        StateChangedAt = reader.IsDBNull(11) ? null : Time(reader.GetInt64(11)),
        Reason = keys.Read<string?>(reader, 12, nameof(EnvelopeKeyRow.Reason)),
        Revision = keys.Read<int>(reader, 13, nameof(EnvelopeKeyRow.Revision)),
        Mac = keys.Read<byte[]>(reader, 14, nameof(EnvelopeKeyRow.Mac)),
        ChangedBy = keys.Read<string?>(reader, 15, nameof(EnvelopeKeyRow.ChangedBy)),
        CompromisedAt = reader.IsDBNull(16) ? null : Time(reader.GetInt64(16)),
        DestructionDueAt = reader.IsDBNull(17) ? null : Time(reader.GetInt64(17)),
        FormerState = reader.IsDBNull(18) ? null : (KeyState)reader.GetInt32(18),
    };

    private static DateTimeOffset Time(long ticks)
        => ticks >= 0 && ticks <= DateTimeOffset.MaxValue.Ticks ? new DateTimeOffset(ticks, TimeSpan.Zero) : throw new KeyRingTamperedException("A time in the key ring is out of range: the row was changed. Restore it.");
}

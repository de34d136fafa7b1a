using System.Data.Common;
using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Storage;
using NpgsqlTypes;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Which rows of a table the database is to hand out: those that name a stale key. Up to <see cref="MaxNamed"/> keys are named in the statement (PostgreSQL hashes them); where there are more - the row keys under a
/// retired kek - the database hands out every row of the range, and <see cref="StaleKeys"/> decides in the process: one pass over the table, however many keys.
/// </summary>
internal sealed class StaleFilter(EncryptedTable table, StaleKeys stale)
{
    private const int MaxNamed = 500;

    private readonly IReadOnlyList<Guid> _keys = [.. stale.Entries.Select(e => e.Id)];

    /// <summary>Whether the database filters; else the process must.</summary>
    public bool IsNamed => _keys.Count <= MaxNamed;

    /// <summary>The condition, with its parameters added to the command.</summary>
    public string Condition(DbCommand command)
    {
        if (!IsNamed)
        {
            return $"({string.Join(" OR ", table.Columns.Select(c => $"{c.Delimited} IS NOT NULL"))})";
        }

        string? binary = null, armor = null;
        var alternatives = table.Columns.Select(column => column.Storage switch
        {
            EncryptedStorage.Binary => $"substr({column.Delimited}, 4, 16) {binary ??= Keys(command, NpgsqlDbType.Bytea, _keys.Select(k => k.ToByteArray(bigEndian: true)))}",
            EncryptedStorage.Armor => $"substr({column.Delimited}, 10, 21) {armor ??= Keys(command, NpgsqlDbType.Text, _keys.Select(CensusTaker.ArmorPrefix))}",
            _ => $"({string.Join(" OR ", _keys.Select(k => $"CAST({column.Delimited} AS TEXT) LIKE {Sql.Add(command, LikePattern(k))} ESCAPE '!'"))})",
        });
        return $"({string.Join(" OR ", alternatives)})";
    }

    private static string Keys<T>(DbCommand command, NpgsqlDbType type, IEnumerable<T> keys)
        where T : notnull
        => command is Npgsql.NpgsqlCommand
            ? $"= ANY({Sql.AddArray(command, type, keys.ToArray())})"
            : $"IN ({string.Join(", ", keys.Select(k => Sql.Add(command, k)))})";

    /// <summary>Finds the key id's base64 inside a document; <c>+</c> may stand escaped there, so any characters match it.</summary>
    private static string LikePattern(Guid key)
        => $"%{TextArmor.Prefix}____{CensusTaker.ArmorPrefix(key).Replace("+", "%", StringComparison.Ordinal).Replace("_", "!_", StringComparison.Ordinal)}%";

    /// <summary>Whether a cell names a stale key, by its header.</summary>
    public bool NamesStale(EncryptedColumn column, object? cell) => cell switch
    {
        null => false,
        byte[] bytes => bytes.Length >= EnvelopeLayout.BoundHeaderBytes && bytes[0] == EnvelopeLayout.Marker && stale.Contains(EnvelopeLayout.KeyId(bytes)),
        string text when column.Storage == EncryptedStorage.Armor => text.Length >= 30 && text.StartsWith(TextArmor.Prefix, StringComparison.Ordinal) && stale.FindByArmor(text.AsSpan(9, 21)) is not null,
        string document => Documents.Find(document).Any(d => stale.Contains(d.KeyId)),
        _ => false,
    };
}

using System.Data.Common;
using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Storage;
using NpgsqlTypes;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Which rows of a table the database is to hand out: those that name a stale key. Up to <see cref="MaxNamed"/> keys are named in the statement (PostgreSQL hashes them). Where there are more, and where rows have keys of their own, the
/// database hands out every row of the range, and <see cref="StaleLookup"/> decides in the process, batch by batch: one pass over the table, however many keys.
/// </summary>
internal sealed class StaleFilter(EncryptedTable table, StaleKeys stale)
{
    private const int MaxNamed = 500;

    private static readonly string[] UsualEscapes = ["\\u002B", "\\u002b", "\\/"];

    private readonly IReadOnlyList<Guid> _keys = [.. stale.Entries.Select(e => e.Id)];

    /// <summary>Whether the database filters; else the process must.</summary>
    public bool IsNamed { get; } = stale.Entries.Count <= MaxNamed && !stale.HasRowKeysIn(table.Name);

    /// <summary>The condition, with its parameters added to the command.</summary>
    public string Condition(DbCommand command)
    {
        if (!IsNamed)
        {
            return $"({string.Join(" OR ", table.Columns.Select(c => $"{c.Delimited} IS NOT NULL"))})";
        }

        if (_keys.Count == 0)
        {
            return "1 = 0";
        }

        string? binary = null, armor = null;
        var alternatives = table.Columns.Select(column => column.Storage switch
        {
            EncryptedStorage.Binary => $"substr({column.Delimited}, 4, 16) {binary ??= Keys(command, NpgsqlDbType.Bytea, _keys.Select(k => k.ToByteArray(bigEndian: true)))}",
            EncryptedStorage.Armor => $"substr({column.Delimited}, 10, 21) {armor ??= Keys(command, NpgsqlDbType.Text, _keys.Select(ArmorHeader.Of))}",
            _ => Document(command, $"CAST({column.Delimited} AS TEXT)"),
        });
        return $"({string.Join(" OR ", alternatives)})";
    }

    private static string Keys<T>(DbCommand command, NpgsqlDbType type, IEnumerable<T> keys)
        where T : notnull
        => command is Npgsql.NpgsqlCommand
            ? $"= ANY({Sql.AddArray(command, type, keys.ToArray())})"
            : $"IN ({string.Join(", ", keys.Select(k => Sql.Add(command, k)))})";

    /// <summary>
    /// Documents that name one of the keys; and those with armour in which other characters are escaped than writers of JSON usually escape in base64: what they name shows only in the process, which leaves them where it is nothing
    /// stale.
    /// </summary>
    private string Document(DbCommand command, string text)
    {
        var unusual = UsualEscapes.Aggregate(text, (plain, escape) => $"replace({plain}, {Sql.Add(command, escape)}, '')");
        return $"({string.Join(" OR ", _keys.Select(k => $"{text} LIKE {Sql.Add(command, LikePattern(k))} ESCAPE '!'"))}"
            + $" OR ({text} LIKE {Sql.Add(command, $"%{TextArmor.Prefix}%")} ESCAPE '!' AND {unusual} LIKE {Sql.Add(command, "%\\%")} ESCAPE '!'))";
    }

    /// <summary>Finds the key id's base64 inside a document; <c>+</c> and <c>/</c> may stand escaped there, so any characters match them.</summary>
    private static string LikePattern(Guid key)
        => $"%{TextArmor.Prefix}____{ArmorHeader.Of(key).Replace("+", "%", StringComparison.Ordinal).Replace("/", "%", StringComparison.Ordinal).Replace("_", "!_", StringComparison.Ordinal)}%";
}

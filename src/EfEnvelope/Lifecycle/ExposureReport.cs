using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>
/// What keys that may be known to others expose: which tenants and subjects, tables, columns, rows, and since when. Ids, names and numbers only, never a value. It counts what the database holds now; rows that were deleted or
/// re-encrypted before, and copies elsewhere (backups, replicas, exports), are not in it. Immutable.
/// </summary>
/// <param name="RingId">The key ring.</param>
/// <param name="TakenAt">When the count began, UTC.</param>
/// <param name="Selection">Which keys were selected.</param>
/// <param name="Reason">The operator's reason; null in a dry run.</param>
/// <param name="ReportedBy">Who reported it; null in a dry run.</param>
/// <param name="IsDryRun">Whether nothing was changed.</param>
/// <param name="IsResumed">Whether keys of the selection had been reported before: rows that were re-encrypted since then are not counted.</param>
/// <param name="Keys">The selected keys; row keys under a selected kek are only counted in <paramref name="RowKeys"/>.</param>
/// <param name="RowKeys">Row keys under the selected keks, or selected by a time.</param>
/// <param name="Rows">By scope and table.</param>
/// <param name="NotCovered">Selected keys that cannot be replaced this way: index roots and the ring's own mac key.</param>
/// <param name="TamperedRingRows">Rows of the ring that are not genuine, by the id that they claim; nobody uses them. Keys of scopes, and the first 1,000 row keys that claim a selected kek; all of them where keys are selected by a time.</param>
public sealed record ExposureReport(
    Guid RingId,
    DateTimeOffset TakenAt,
    string Selection,
    string? Reason,
    string? ReportedBy,
    bool IsDryRun,
    bool IsResumed,
    IReadOnlyList<ExposedKey> Keys,
    int RowKeys,
    IReadOnlyList<ExposedRows> Rows,
    IReadOnlyList<ExposedKey> NotCovered,
    IReadOnlyList<Guid> TamperedRingRows)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter() },
    };

    /// <summary>Rows in all tables that a selected key opens.</summary>
    public long TotalRows => Rows.Sum(r => r.Rows);

    /// <summary>Cells in all tables that a selected key opens.</summary>
    public long TotalCells => Rows.Sum(r => r.Columns.Sum(c => c.Cells));

    /// <summary>Since when: the earliest time at which a selected key began to seal. Null where no key was ever active.</summary>
    public DateTimeOffset? Since => Keys.Concat(NotCovered).Min(k => k.ActivatedAt);

    /// <summary>The report as JSON, indented; enumerations by name, times in UTC.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>The report for people: plain lines.</summary>
    public string ToText()
    {
        var text = new StringBuilder();
        Line($"Exposure of {Selection}{(IsDryRun ? " (dry run: nothing was changed)" : "")}");
        Line($"  key ring {RingId}, counted {TakenAt:yyyy-MM-dd HH:mm:ss}Z{(Reason is null ? "" : $", reason: {Reason}")}{(ReportedBy is null ? "" : $", reported by {ReportedBy}")}");
        Line($"  {Keys.Count} key(s){(RowKeys > 0 ? $" and {RowKeys} row key(s) under them" : "")}{(Since is { } since ? $", in use since {since:yyyy-MM-dd HH:mm:ss}Z" : "")}");
        foreach (var key in Keys)
        {
            Line($"    {key.Scope}  {key.Purpose} v{key.Version}  {key.State}  {key.Id}  active {Time(key.ActivatedAt)}  compromised {Time(key.CompromisedAt)}");
        }

        foreach (var rows in Rows)
        {
            Line($"  {rows.Scope}  {rows.Table}  {rows.Rows} row(s) since {Time(rows.Since)}: {string.Join(", ", rows.Columns.Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Column} {c.Cells}")))}");
        }

        Line($"  total: {TotalRows} row(s), {TotalCells} cell(s), {Rows.Select(r => r.Scope).Distinct().Count()} scope(s), {Rows.Select(r => r.Table).Distinct().Count()} table(s)");
        if (IsResumed)
        {
            Line($"  keys of it had been reported before: rows that were re-encrypted since are not counted here, and the keys that replaced them are not meant (name them by --key if they may be known too)");
        }

        foreach (var key in NotCovered)
        {
            Line($"  NOT COVERED: {key.Purpose} key {key.Id} of {key.Scope} cannot be replaced this way (docs/key-lifecycle.md)");
        }

        foreach (var id in TamperedRingRows)
        {
            Line($"  TAMPERED: the ring's row of key {id} is not genuine and is not used; restore it");
        }

        Line($"  not counted: deleted rows, and copies elsewhere (backups, replicas, exports)");
        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }

    private static string Time(DateTimeOffset? time) => time is { } known ? known.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture) : "never";
}

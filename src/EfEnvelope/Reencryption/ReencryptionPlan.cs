using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace EfEnvelope;

/// <summary>What a re-encryption job would do, and what it would cost. Nothing was changed to find it out. Ids, names and numbers only, never a value. Immutable.</summary>
/// <param name="TakenAt">When it was counted, UTC.</param>
/// <param name="Keys">The keys that rows should leave, and why; compromised ones first, then the oldest. Row keys are only counted in <paramref name="RowKeys"/>.</param>
/// <param name="RowKeys">Row keys that rows should leave.</param>
/// <param name="Tables">What would be rewritten, by table; keys that still seal are not in it.</param>
/// <param name="Units">Key ranges that workers would claim.</param>
/// <param name="KeyServiceCalls">Calls of the key service by a process that holds no key yet: one for each key that opens and each that takes over. Keys that only the sampled opening at the end meets come on top.</param>
/// <param name="RowsPerSecond">The rate that the duration rests on; null where nothing is to do.</param>
/// <param name="RateSource">Where the rate comes from: the last job, or a sample that was read, opened and sealed in memory; and what the options hold it to.</param>
/// <param name="Duration">How long the rows would take at that rate, with the options' pauses; null where nothing is to do. The wait for the cut-off, the final census, and the time outside of a window come on top.</param>
/// <param name="Census">What one census costs; a job takes two.</param>
/// <param name="Unreadable">Keys that could not be loaded for the sample, with the type of the error: their rows would be passed over.</param>
public sealed record ReencryptionPlan(
    DateTimeOffset TakenAt,
    IReadOnlyList<PlannedKey> Keys,
    int RowKeys,
    IReadOnlyList<PlannedTable> Tables,
    int Units,
    int KeyServiceCalls,
    double? RowsPerSecond,
    string RateSource,
    TimeSpan? Duration,
    CensusCost Census,
    IReadOnlyList<UnreadableKey> Unreadable)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true, Converters = { new JsonStringEnumConverter() } };

    /// <summary>Rows in all tables.</summary>
    public long Rows => Tables.Sum(t => t.Rows);

    /// <summary>The plan as JSON, indented; enumerations by name, times in UTC.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>The plan for people: plain lines.</summary>
    public string ToText()
    {
        var text = new StringBuilder();
        Line($"Plan of a re-encryption, counted {TakenAt:yyyy-MM-dd HH:mm:ss}Z; nothing was changed");
        foreach (var key in Keys)
        {
            Line($"  {key.Reason,-12}  {key.Scope}  {key.Purpose} v{key.Version}  {key.State}  {key.Id}  created {key.CreatedAt:yyyy-MM-dd}  {key.Cells} cell(s){(key.Reason is StaleReason.Expired ? "; rotate it first (--expired)" : key.Reason is StaleReason.OtherRootKey ? "; `rewrap` suffices, no row changes" : "")}");
        }

        if (RowKeys > 0)
        {
            Line($"  and {RowKeys} row key(s)");
        }

        foreach (var table in Tables)
        {
            Line($"  {table.Table}: {table.Rows} row(s), {table.Bytes} byte(s) of cells ({string.Join(", ", table.Columns)}){(table.HasKey ? "" : "; no primary key: the job cannot write it")}");
        }

        Line($"  {Rows} row(s) in {Units} unit(s), {KeyServiceCalls} call(s) of the key service");
        Line($"  {(Duration is { } time ? FormattableString.Invariant($"about {time.TotalSeconds:0.#} s at {RowsPerSecond:0} rows/s ({RateSource})") : "nothing to re-encrypt")}");
        Line($"  {Census.ToText()}; a job takes two");
        foreach (var key in Unreadable)
        {
            Line($"  UNREADABLE: key {key.Id} ({key.Error}): its rows would be passed over");
        }

        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }
}

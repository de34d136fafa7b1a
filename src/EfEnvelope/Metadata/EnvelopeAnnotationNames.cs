namespace EfEnvelope.Metadata;

/// <summary>Names of the model annotations. Their values are strings, so that snapshots and compiled models carry them.</summary>
internal static class EnvelopeAnnotationNames
{
    public const string Prefix = "EfEnvelope:";

    /// <summary>Model: encryption is applied; the value is the format version.</summary>
    public const string Enabled = Prefix + "Enabled";

    /// <summary>Model: EF made it for a <c>SqlQuery</c>. EF's own annotation of them is gone from the runtime model.</summary>
    public const string AdHoc = Prefix + "AdHoc";

    /// <summary>Property: declared encrypted by the fluent API; the value is <c>true</c> or <c>false</c> (which overrules the attribute).</summary>
    public const string Encrypted = Prefix + "Encrypted";

    /// <summary>Property: explicit column id, former ids (escaped, separated by commas), padding bucket, row binding and armour of the fluent API.</summary>
    public const string ColumnId = Prefix + "ColumnId";
    public const string FormerColumnIds = Prefix + "FormerColumnIds";
    public const string Padding = Prefix + "Padding";
    public const string RowBound = Prefix + "RowBound";
    public const string Armored = Prefix + "Armored";

    /// <summary>Property: the applied column token (<see cref="ColumnDeclaration"/>); its presence says that the column holds envelopes.</summary>
    public const string Column = Prefix + "Column";

    /// <summary>Property: the maximal plaintext length that the user set with HasMaxLength.</summary>
    public const string PlaintextMaxLength = Prefix + "PlaintextMaxLength";

    /// <summary>Property: the collation that the user set, which no envelope has.</summary>
    public const string PlaintextCollation = Prefix + "PlaintextCollation";

    /// <summary>Root entity type: <c>tenant|Property</c>, <c>tenant</c> (ambient) or <c>subject|name|Property</c>.</summary>
    public const string Scope = Prefix + "Scope";

    /// <summary>Root entity type: rows have keys of their own; the value is the name of the row id property.</summary>
    public const string PerRow = Prefix + "PerRow";

    /// <summary>Root entity type: its table keeps former values of another entity's rows; the value is that entity's name.</summary>
    public const string HistoryOf = Prefix + "HistoryOf";

    /// <summary>Entity or complex type: names of marked members, or of what maps them, that the fluent API ignores.</summary>
    public const string LeftOut = Prefix + "LeftOut";

    /// <summary>Entity type: a table of the key ring; the value is its role.</summary>
    public const string RingTable = Prefix + "RingTable";
}

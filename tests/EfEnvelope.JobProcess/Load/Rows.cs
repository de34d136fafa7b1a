namespace EfEnvelope.JobProcess.Load;

/// <summary>
/// A row whose content is a function of its number and of what was written last: <see cref="Values"/>. The number stays for ever, the primary key may move.
/// </summary>
internal interface IChaosRow
{
    long Id { get; set; }

    long Number { get; set; }

    int TenantId { get; set; }

    string? First { get; set; }

    string? Second { get; set; }
}

/// <summary>Two columns, one of bytes and one of armour, under the tenant's key.</summary>
internal sealed class Item : IChaosRow
{
    public long Id { get; set; }

    public long Number { get; set; }

    public int TenantId { get; set; }

    [Encrypted]
    public string? First { get; set; }

    [Encrypted(Armored = true)]
    public string? Second { get; set; }
}

/// <summary>Two members of one JSON document.</summary>
internal sealed class Paper : IChaosRow
{
    public long Id { get; set; }

    public long Number { get; set; }

    public int TenantId { get; set; }

    public Detail Detail { get; set; } = new();

    string? IChaosRow.First
    {
        get => Detail.First;
        set => Detail.First = value;
    }

    string? IChaosRow.Second
    {
        get => Detail.Second;
        set => Detail.Second = value;
    }
}

/// <summary>Stands in a JSON column.</summary>
internal sealed class Detail
{
    public string Theme { get; set; } = "plain";

    [Encrypted]
    public string? First { get; set; }

    [Encrypted]
    public string? Second { get; set; }
}

/// <summary>Rows with keys of their own.</summary>
internal sealed class Card : IChaosRow
{
    public long Id { get; set; }

    public long Number { get; set; }

    public int TenantId { get; set; }

    [Encrypted]
    public string? First { get; set; }

    [Encrypted]
    public string? Second { get; set; }
}

/// <summary>One value is bound to the primary key.</summary>
internal sealed class Ledger : IChaosRow
{
    public long Id { get; set; }

    public long Number { get; set; }

    public int TenantId { get; set; }

    [Encrypted(RowBound = true)]
    public string? First { get; set; }

    [Encrypted]
    public string? Second { get; set; }
}

using System.Globalization;

namespace EfEnvelope;

/// <summary>Options of one encrypted property; see <see cref="EncryptedAttribute"/> for their meaning, ranges and defaults.</summary>
public sealed class EncryptedPropertyOptions
{
    internal Dictionary<string, string> Annotations { get; } = [];

    /// <summary>Sets the authenticated column id (1-255 bytes of UTF-8).</summary>
    public EncryptedPropertyOptions HasColumnId(string columnId)
    {
        ArgumentException.ThrowIfNullOrEmpty(columnId);
        Annotations["EfEnvelope:ColumnId"] = columnId;
        return this;
    }

    /// <summary>Names column ids that the column had before: values that were sealed under one of them open too (each 1-255 bytes of UTF-8, and no other column's).</summary>
    public EncryptedPropertyOptions HasFormerColumnIds(params string[] formerColumnIds)
    {
        ArgumentNullException.ThrowIfNull(formerColumnIds);
        foreach (var id in formerColumnIds)
        {
            ArgumentException.ThrowIfNullOrEmpty(id, nameof(formerColumnIds));
        }

        Annotations["EfEnvelope:FormerColumnIds"] = string.Join(',', formerColumnIds.Select(Uri.EscapeDataString));
        return this;
    }

    /// <summary>Pads plaintexts to multiples of this many bytes (1-1048576).</summary>
    public EncryptedPropertyOptions HasPadding(int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        Annotations["EfEnvelope:Padding"] = bytes.ToString(CultureInfo.InvariantCulture);
        return this;
    }

    /// <summary>Binds each value to its row's primary key.</summary>
    public EncryptedPropertyOptions IsRowBound(bool rowBound = true)
    {
        Annotations["EfEnvelope:RowBound"] = rowBound ? "true" : "false";
        return this;
    }

    /// <summary>Stores text armour in a column that stays of a text type.</summary>
    public EncryptedPropertyOptions IsArmored(bool armored = true)
    {
        Annotations["EfEnvelope:Armored"] = armored ? "true" : "false";
        return this;
    }
}

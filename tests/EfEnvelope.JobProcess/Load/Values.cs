using System.Globalization;

namespace EfEnvelope.JobProcess.Load;

/// <summary>What a row holds after its n-th write: nobody has to remember more than n.</summary>
internal static class Values
{
    /// <summary>The text of a column; null after every thirteenth write.</summary>
    public static string? Text(long number, int sequence, char column)
        => sequence % 13 == 12 ? null : string.Create(CultureInfo.InvariantCulture, $"{column}{number}/{sequence}/{new string((char)('a' + ((number + sequence) % 26)), (int)((number + (sequence * 7L)) % 40))}");

    public static int Tenant(long number, int tenants) => 1 + (int)(number % tenants);

    public static void Fill(IChaosRow row, RowState state)
    {
        row.First = Text(row.Number, state.First, 'f');
        row.Second = Text(row.Number, state.Second, 's');
    }

    public static bool Holds(IChaosRow row, RowState state)
        => !state.IsDeleted && row.First == Text(row.Number, state.First, 'f') && row.Second == Text(row.Number, state.Second, 's');
}

/// <summary>How often each of a row's values was written.</summary>
internal readonly record struct RowState(int First, int Second, bool IsDeleted)
{
    public static readonly RowState Initial = new(0, 0, false);
}

using System.Buffers.Binary;

namespace EfEnvelope.Envelopes;

/// <summary>Dates and times, range-checked.</summary>
internal static class TimeCodec
{
    private const int MaxOffsetMinutes = 840;

    public static bool TryReadDateTime(ReadOnlySpan<byte> bytes, out DateTime value)
    {
        value = default;
        if (bytes.Length != 9 || !TryReadTicks(bytes, DateTime.MaxValue.Ticks, out var ticks) || bytes[8] > (byte)DateTimeKind.Local)
        {
            return false;
        }

        value = new DateTime(ticks, (DateTimeKind)bytes[8]);
        return true;
    }

    public static bool TryReadDateTimeOffset(ReadOnlySpan<byte> bytes, out DateTimeOffset value)
    {
        value = default;
        if (bytes.Length != 10 || !TryReadTicks(bytes, DateTime.MaxValue.Ticks, out var ticks))
        {
            return false;
        }

        var minutes = BinaryPrimitives.ReadInt16BigEndian(bytes[8..]);
        if (minutes is < -MaxOffsetMinutes or > MaxOffsetMinutes)
        {
            return false;
        }

        var utcTicks = ticks - (minutes * TimeSpan.TicksPerMinute);
        if (utcTicks < 0 || utcTicks > DateTime.MaxValue.Ticks)
        {
            return false;
        }

        value = new DateTimeOffset(ticks, TimeSpan.FromMinutes(minutes));
        return true;
    }

    public static bool TryReadDateOnly(ReadOnlySpan<byte> bytes, out DateOnly value)
    {
        value = default;
        if (bytes.Length != 4)
        {
            return false;
        }

        var day = BinaryPrimitives.ReadInt32BigEndian(bytes);
        if (day < 0 || day > DateOnly.MaxValue.DayNumber)
        {
            return false;
        }

        value = DateOnly.FromDayNumber(day);
        return true;
    }

    public static bool TryReadTimeOnly(ReadOnlySpan<byte> bytes, out TimeOnly value)
    {
        value = default;
        if (bytes.Length != 8 || !TryReadTicks(bytes, TimeOnly.MaxValue.Ticks, out var ticks))
        {
            return false;
        }

        value = new TimeOnly(ticks);
        return true;
    }

    private static bool TryReadTicks(ReadOnlySpan<byte> bytes, long max, out long ticks)
    {
        ticks = BinaryPrimitives.ReadInt64BigEndian(bytes);
        return ticks >= 0 && ticks <= max;
    }
}

using System.Buffers.Binary;

namespace EfEnvelope.Envelopes;

/// <summary>A decimal as its four words lo, mid, hi, flags; the scale survives.</summary>
internal static class DecimalCodec
{
    private const int SignFlag = int.MinValue;
    private const int ScaleMask = 0x00FF0000;

    public static void Write(decimal value, Span<byte> destination)
    {
        Span<int> words = stackalloc int[4];
        decimal.GetBits(value, words);
        for (var i = 0; i < 4; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(destination[(4 * i)..], words[i]);
        }

        words.Clear();
    }

    public static bool TryRead(ReadOnlySpan<byte> bytes, out decimal value)
    {
        value = default;
        if (bytes.Length != 16)
        {
            return false;
        }

        Span<int> words = stackalloc int[4];
        for (var i = 0; i < 4; i++)
        {
            words[i] = BinaryPrimitives.ReadInt32BigEndian(bytes[(4 * i)..]);
        }

        if ((words[3] & ~(SignFlag | ScaleMask)) != 0 || (words[3] & ScaleMask) >> 16 > 28)
        {
            return false;
        }

        value = new decimal(words);
        words.Clear();
        return true;
    }

    /// <summary>The same number without trailing zeros of the fraction; zero without sign and scale.</summary>
    public static decimal AtMinimalScale(decimal value)
    {
        Span<int> words = stackalloc int[4];
        decimal.GetBits(value, words);
        var digits = new UInt128((uint)words[2], ((ulong)(uint)words[1] << 32) | (uint)words[0]);
        if (digits == UInt128.Zero)
        {
            return 0m;
        }

        var scale = (words[3] & ScaleMask) >> 16;
        while (scale > 0 && digits % 10 == UInt128.Zero)
        {
            digits /= 10;
            scale--;
        }

        return new decimal((int)(uint)digits, (int)(uint)(digits >> 32), (int)(uint)(digits >> 64), words[3] < 0, (byte)scale);
    }
}

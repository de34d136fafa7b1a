using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace EfEnvelope.Envelopes;

/// <summary>Integers, char and enums by their width; encodings 3 and 4 are read alike, range-checked, so that a property may change width.</summary>
internal static class IntegerCodec
{
    public static long ReadSigned<T>(ref T value) => Unsafe.SizeOf<T>() switch
    {
        1 => Unsafe.As<T, sbyte>(ref value),
        2 => Unsafe.As<T, short>(ref value),
        4 => Unsafe.As<T, int>(ref value),
        _ => Unsafe.As<T, long>(ref value),
    };

    public static ulong ReadUnsigned<T>(ref T value) => Unsafe.SizeOf<T>() switch
    {
        1 => Unsafe.As<T, byte>(ref value),
        2 => Unsafe.As<T, ushort>(ref value),
        4 => Unsafe.As<T, uint>(ref value),
        _ => Unsafe.As<T, ulong>(ref value),
    };

    public static bool TryRead<T>(ValueEncoding encoding, ReadOnlySpan<byte> bytes, out T value)
    {
        value = default!;
        if (bytes.Length != 8)
        {
            return false;
        }

        var bits = BinaryPrimitives.ReadUInt64BigEndian(bytes);
        var negative = encoding == ValueEncoding.SignedInteger && (long)bits < 0;
        var width = Unsafe.SizeOf<T>() * 8;
        if (ValueShape<T>.Kind == ValueKind.Signed)
        {
            // In range if and only if the bits above the type's own repeat its sign.
            var above = (long)bits >> (width - 1);
            if (above != (negative ? -1 : 0))
            {
                return false;
            }
        }
        else if (negative || (width < 64 && bits >> width != 0))
        {
            return false;
        }

        switch (Unsafe.SizeOf<T>())
        {
            case 1:
                Unsafe.As<T, byte>(ref value) = (byte)bits;
                break;
            case 2:
                Unsafe.As<T, ushort>(ref value) = (ushort)bits;
                break;
            case 4:
                Unsafe.As<T, uint>(ref value) = (uint)bits;
                break;
            default:
                Unsafe.As<T, ulong>(ref value) = bits;
                break;
        }

        return true;
    }
}

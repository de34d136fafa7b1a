using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>
/// CLR values to bytes and back (FORMAT.md, Value encodings). Fixed lengths are exact, ranges are checked, every violation is
/// <see cref="EnvelopeRefusedException"/>. Pure functions; the JIT leaves one branch per value type.
/// </summary>
internal static class ValueCodec
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static bool IsSupported(Type type)
    {
        type = type.IsEnum ? type.GetEnumUnderlyingType() : type;
        return type == typeof(string) || type == typeof(byte[]) || type == typeof(bool) || type == typeof(char)
            || type == typeof(sbyte) || type == typeof(short) || type == typeof(int) || type == typeof(long)
            || type == typeof(byte) || type == typeof(ushort) || type == typeof(uint) || type == typeof(ulong)
            || type == typeof(float) || type == typeof(double) || type == typeof(decimal) || type == typeof(Guid)
            || type == typeof(DateTime) || type == typeof(DateTimeOffset) || type == typeof(DateOnly) || type == typeof(TimeOnly) || type == typeof(TimeSpan);
    }

    public static ValueEncoding EncodingOf(Type type) => Type.GetTypeCode(type) switch
    {
        TypeCode.String => ValueEncoding.String,
        TypeCode.SByte or TypeCode.Int16 or TypeCode.Int32 or TypeCode.Int64 => ValueEncoding.SignedInteger,
        TypeCode.Byte or TypeCode.UInt16 or TypeCode.UInt32 or TypeCode.UInt64 or TypeCode.Char => ValueEncoding.UnsignedInteger,
        TypeCode.Boolean => ValueEncoding.Boolean,
        TypeCode.Single or TypeCode.Double => ValueEncoding.FloatingPoint,
        TypeCode.Decimal => ValueEncoding.Decimal,
        TypeCode.DateTime => ValueEncoding.DateTime,
        _ when type == typeof(byte[]) => ValueEncoding.Bytes,
        _ when type == typeof(Guid) => ValueEncoding.Guid,
        _ when type == typeof(DateTimeOffset) => ValueEncoding.DateTimeOffset,
        _ when type == typeof(DateOnly) => ValueEncoding.DateOnly,
        _ when type == typeof(TimeOnly) || type == typeof(TimeSpan) => ValueEncoding.Time,
        _ => throw new EnvelopeConfigurationException($"Type {type.Name} has no value encoding."),
    };

    /// <summary>Whether a property of this type reads the encoding: integers of both kinds alike.</summary>
    public static bool Accepts(Type type, ValueEncoding encoding)
    {
        var own = EncodingOf(type);
        return own == encoding
            || (own is (ValueEncoding.SignedInteger or ValueEncoding.UnsignedInteger) && encoding is ValueEncoding.SignedInteger or ValueEncoding.UnsignedInteger);
    }

    public static int GetByteCount<T>(T value, string columnId)
    {
        switch (EncodingOf(typeof(T)))
        {
            case ValueEncoding.String:
                try
                {
                    return Utf8.GetByteCount((string)(object)value!);
                }
                catch (EncoderFallbackException)
                {
                    throw new EnvelopeRefusedException($"A string for column '{columnId}' holds a lone surrogate and has no UTF-8 form. Nothing was written.") { ColumnId = columnId };
                }

            case ValueEncoding.Bytes:
                return ((byte[])(object)value!).Length;
            case ValueEncoding.Boolean:
                return 1;
            case ValueEncoding.Decimal or ValueEncoding.Guid:
                return 16;
            case ValueEncoding.DateTime:
                return 9;
            case ValueEncoding.DateTimeOffset:
                return 10;
            case ValueEncoding.DateOnly:
                return 4;
            default:
                return 8;
        }
    }

    public static void Write<T>(T value, Span<byte> target)
    {
        switch (EncodingOf(typeof(T)))
        {
            case ValueEncoding.String:
                Utf8.GetBytes((string)(object)value!, target);
                break;
            case ValueEncoding.Bytes:
                ((byte[])(object)value!).CopyTo(target);
                break;
            case ValueEncoding.SignedInteger:
                BinaryPrimitives.WriteInt64BigEndian(target, Signed(value));
                break;
            case ValueEncoding.UnsignedInteger:
                BinaryPrimitives.WriteUInt64BigEndian(target, Unsigned(value));
                break;
            case ValueEncoding.Boolean:
                target[0] = As<T, bool>(value) ? (byte)1 : (byte)0;
                break;
            case ValueEncoding.FloatingPoint:
                var number = typeof(T) == typeof(float) ? As<T, float>(value) : As<T, double>(value);
                BinaryPrimitives.WriteInt64BigEndian(target, double.IsNaN(number) ? 0x7FF8000000000000 : BitConverter.DoubleToInt64Bits(number));
                break;
            case ValueEncoding.Decimal:
                WriteDecimal(As<T, decimal>(value), target);
                break;
            case ValueEncoding.Guid:
                As<T, Guid>(value).TryWriteBytes(target, bigEndian: true, out _);
                break;
            case ValueEncoding.DateTime:
                var time = As<T, DateTime>(value);
                BinaryPrimitives.WriteInt64BigEndian(target, time.Ticks);
                target[8] = (byte)time.Kind;
                break;
            case ValueEncoding.DateTimeOffset:
                var local = As<T, DateTimeOffset>(value);
                BinaryPrimitives.WriteInt64BigEndian(target, local.Ticks);
                BinaryPrimitives.WriteInt16BigEndian(target[8..], (short)local.TotalOffsetMinutes);
                break;
            case ValueEncoding.DateOnly:
                BinaryPrimitives.WriteInt32BigEndian(target, As<T, DateOnly>(value).DayNumber);
                break;
            default:
                BinaryPrimitives.WriteInt64BigEndian(target, typeof(T) == typeof(TimeOnly) ? As<T, TimeOnly>(value).Ticks : As<T, TimeSpan>(value).Ticks);
                break;
        }
    }

    public static T Read<T>(ReadOnlySpan<byte> bytes, ValueEncoding encoding, string columnId, Guid keyId)
    {
        try
        {
            var own = EncodingOf(typeof(T));
            switch (own)
            {
                case ValueEncoding.String:
                    return (T)(object)Utf8.GetString(bytes);
                case ValueEncoding.Bytes:
                    return (T)(object)bytes.ToArray();
                case ValueEncoding.SignedInteger or ValueEncoding.UnsignedInteger:
                    Exactly(bytes, 8);
                    return Integer<T>(BinaryPrimitives.ReadInt64BigEndian(bytes), encoding == ValueEncoding.UnsignedInteger);
                case ValueEncoding.Boolean:
                    Exactly(bytes, 1);
                    return bytes[0] <= 1 ? To<bool, T>(bytes[0] == 1) : throw new OverflowException();
                case ValueEncoding.FloatingPoint:
                    Exactly(bytes, 8);
                    return Floating<T>(BitConverter.Int64BitsToDouble(BinaryPrimitives.ReadInt64BigEndian(bytes)));
                case ValueEncoding.Decimal:
                    Exactly(bytes, 16);
                    return To<decimal, T>(ReadDecimal(bytes));
                case ValueEncoding.Guid:
                    Exactly(bytes, 16);
                    return To<Guid, T>(new Guid(bytes, bigEndian: true));
                case ValueEncoding.DateTime:
                    Exactly(bytes, 9);
                    return bytes[8] <= 2 ? To<DateTime, T>(new DateTime(BinaryPrimitives.ReadInt64BigEndian(bytes), (DateTimeKind)bytes[8])) : throw new OverflowException();
                case ValueEncoding.DateTimeOffset:
                    Exactly(bytes, 10);
                    return To<DateTimeOffset, T>(new DateTimeOffset(
                        BinaryPrimitives.ReadInt64BigEndian(bytes), TimeSpan.FromMinutes(BinaryPrimitives.ReadInt16BigEndian(bytes[8..]))));
                case ValueEncoding.DateOnly:
                    Exactly(bytes, 4);
                    return To<DateOnly, T>(DateOnly.FromDayNumber(BinaryPrimitives.ReadInt32BigEndian(bytes)));
                default:
                    Exactly(bytes, 8);
                    var ticks = BinaryPrimitives.ReadInt64BigEndian(bytes);
                    return typeof(T) == typeof(TimeOnly) ? To<TimeOnly, T>(new TimeOnly(ticks)) : To<TimeSpan, T>(new TimeSpan(ticks));
            }
        }
        catch (Exception violation) when (violation is ArgumentException or OverflowException)
        {
            // The inner exception is left out: a decoder's message may quote what it read.
            throw new EnvelopeRefusedException(
                $"A value of column '{columnId}' (key {keyId}) is refused: it does not fit type {typeof(T).Name}. Nothing of it is returned; the stored value is untouched.")
            {
                ColumnId = columnId,
                KeyId = keyId,
            };
        }
    }

    /// <summary>What a blind index is computed over; strings after their normaliser.</summary>
    public static byte[] IndexBytes<T>(T value)
    {
        if (typeof(T) == typeof(decimal))
        {
            var number = As<T, decimal>(value);
            number /= 1.000000000000000000000000000000000m;
            return Encode(number == 0 ? 0m : number);
        }

        return value switch
        {
            double d => Encode(d == 0 ? 0d : d),
            float f => Encode(f == 0 ? 0d : (double)f),
            DateTime t => Encode(t.Ticks),
            DateTimeOffset t => Encode(t.UtcTicks),
            _ => Encode(value),
        };
    }

    /// <summary>The bytes of a value.</summary>
    public static byte[] Encode<T>(T value)
    {
        var bytes = new byte[GetByteCount(value, "")];
        Write(value, bytes);
        return bytes;
    }

    private static long Signed<T>(T value) => Unsafe.SizeOf<T>() switch
    {
        1 => As<T, sbyte>(value),
        2 => As<T, short>(value),
        4 => As<T, int>(value),
        _ => As<T, long>(value),
    };

    private static ulong Unsigned<T>(T value) => Unsafe.SizeOf<T>() switch
    {
        1 => As<T, byte>(value),
        2 => As<T, ushort>(value),
        4 => As<T, uint>(value),
        _ => As<T, ulong>(value),
    };

    private static T Integer<T>(long raw, bool unsigned)
    {
        if (EncodingOf(typeof(T)) == ValueEncoding.SignedInteger)
        {
            var number = unsigned && raw < 0 ? throw new OverflowException() : raw;
            return Unsafe.SizeOf<T>() switch
            {
                1 => To<sbyte, T>(checked((sbyte)number)),
                2 => To<short, T>(checked((short)number)),
                4 => To<int, T>(checked((int)number)),
                _ => To<long, T>(number),
            };
        }

        var natural = !unsigned && raw < 0 ? throw new OverflowException() : (ulong)raw;
        return Unsafe.SizeOf<T>() switch
        {
            1 => To<byte, T>(checked((byte)natural)),
            2 => To<ushort, T>(checked((ushort)natural)),
            4 => To<uint, T>(checked((uint)natural)),
            _ => To<ulong, T>(natural),
        };
    }

    private static T Floating<T>(double number)
    {
        if (typeof(T) == typeof(double))
        {
            return To<double, T>(number);
        }

        var narrow = (float)number;
        return double.IsNaN(number) || narrow == number ? To<float, T>(narrow) : throw new OverflowException();
    }

    private static void WriteDecimal(decimal value, Span<byte> target)
    {
        Span<int> words = stackalloc int[4];
        decimal.GetBits(value, words);
        for (var i = 0; i < 4; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(target[(4 * i)..], words[i]);
        }
    }

    private static decimal ReadDecimal(ReadOnlySpan<byte> bytes)
    {
        Span<int> words = stackalloc int[4];
        for (var i = 0; i < 4; i++)
        {
            words[i] = BinaryPrimitives.ReadInt32BigEndian(bytes[(4 * i)..]);
        }

        return new decimal(words);
    }

    private static void Exactly(ReadOnlySpan<byte> bytes, int length)
    {
        if (bytes.Length != length)
        {
            throw new OverflowException();
        }
    }

    private static TTo As<TFrom, TTo>(TFrom value) => Unsafe.As<TFrom, TTo>(ref value);

    private static TTo To<TFrom, TTo>(TFrom value) => Unsafe.As<TFrom, TTo>(ref value);
}

using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>
/// Scalar values to the bytes of FORMAT's table, and back with every check that it asks for. The branches on the type vanish
/// in compiled code, so no value is boxed.
/// </summary>
internal static class ValueCodec
{
    internal static readonly UTF8Encoding StrictUtf8 = new(false, true);

    /// <summary>Whether values of the type can be sealed; not for Nullable, which callers unwrap.</summary>
    public static bool IsSupported(Type clrType) => ValueShape.KindOf(clrType) != ValueKind.Unsupported;

    /// <exception cref="EnvelopeConfigurationException">The type has no encoding.</exception>
    public static ValueEncoding EncodingOf(Type clrType)
    {
        var encoding = ValueShape.EncodingOf(ValueShape.KindOf(clrType));
        return encoding != ValueEncoding.None ? encoding : throw Unsupported(clrType);
    }

    public static ValueEncoding Of<T>() => ValueShape<T>.Encoding != ValueEncoding.None ? ValueShape<T>.Encoding : throw Unsupported(typeof(T));

    /// <summary>Whether a property of type <typeparamref name="T"/> reads the encoding: its own, and for integers both.</summary>
    public static bool Reads<T>(ValueEncoding encoding) => encoding == Of<T>()
        || (ValueShape<T>.Kind is ValueKind.Signed or ValueKind.Unsigned && encoding is ValueEncoding.SignedInteger or ValueEncoding.UnsignedInteger);

    public static int EncodedLength<T>(T value, EnvelopeBinding? binding = null)
    {
        switch (ValueShape<T>.Kind)
        {
            case ValueKind.Text:
                try
                {
                    return StrictUtf8.GetByteCount(As<T, string>(value));
                }
                catch (EncoderFallbackException)
                {
                    throw Refusal.Of("the text holds a lone surrogate: it is not valid Unicode. Nothing was written.", binding);
                }

            case ValueKind.Bytes: return As<T, byte[]>(value).Length;
            case ValueKind.Boolean: return 1;
            case ValueKind.DateOnly: return 4;
            case ValueKind.DateTime: return 9;
            case ValueKind.DateTimeOffset: return 10;
            case ValueKind.Decimal or ValueKind.Guid: return 16;
            case ValueKind.Unsupported: throw Unsupported(typeof(T));
            default: return 8;
        }
    }

    /// <summary>Writes exactly <see cref="EncodedLength"/> bytes.</summary>
    public static void Encode<T>(T value, Span<byte> destination)
    {
        switch (ValueShape<T>.Kind)
        {
            case ValueKind.Text:
                StrictUtf8.GetBytes(As<T, string>(value), destination);
                break;
            case ValueKind.Bytes:
                As<T, byte[]>(value).CopyTo(destination);
                break;
            case ValueKind.Signed:
                BinaryPrimitives.WriteInt64BigEndian(destination, IntegerCodec.ReadSigned(ref value));
                break;
            case ValueKind.Unsigned:
                BinaryPrimitives.WriteUInt64BigEndian(destination, IntegerCodec.ReadUnsigned(ref value));
                break;
            case ValueKind.Boolean:
                destination[0] = As<T, bool>(value) ? (byte)1 : (byte)0;
                break;
            case ValueKind.Double:
                WriteDouble(As<T, double>(value), destination);
                break;
            case ValueKind.Single:
                WriteDouble(As<T, float>(value), destination);
                break;
            case ValueKind.Decimal:
                DecimalCodec.Write(As<T, decimal>(value), destination);
                break;
            case ValueKind.Guid:
                As<T, Guid>(value).TryWriteBytes(destination, bigEndian: true, out _);
                break;
            case ValueKind.DateTime:
                var dateTime = As<T, DateTime>(value);
                BinaryPrimitives.WriteInt64BigEndian(destination, dateTime.Ticks);
                destination[8] = (byte)dateTime.Kind;
                break;
            case ValueKind.DateTimeOffset:
                var offset = As<T, DateTimeOffset>(value);
                BinaryPrimitives.WriteInt64BigEndian(destination, offset.Ticks);
                BinaryPrimitives.WriteInt16BigEndian(destination[8..], (short)offset.TotalOffsetMinutes);
                break;
            case ValueKind.DateOnly:
                BinaryPrimitives.WriteInt32BigEndian(destination, As<T, DateOnly>(value).DayNumber);
                break;
            case ValueKind.TimeOnly:
                BinaryPrimitives.WriteInt64BigEndian(destination, As<T, TimeOnly>(value).Ticks);
                break;
            case ValueKind.TimeSpan:
                BinaryPrimitives.WriteInt64BigEndian(destination, As<T, TimeSpan>(value).Ticks);
                break;
            default:
                throw Unsupported(typeof(T));
        }
    }

    /// <summary>The value's bytes as they are sealed.</summary>
    public static byte[] Encode<T>(T value)
    {
        var bytes = new byte[EncodedLength(value)];
        Encode(value, bytes);
        return bytes;
    }

    /// <exception cref="EnvelopeRefusedException">The bytes are no value of the type.</exception>
    public static T Decode<T>(ValueEncoding encoding, ReadOnlySpan<byte> bytes) =>
        Reads<T>(encoding) && TryDecode<T>(encoding, bytes, out var value) ? value : throw Refusal.Value($"is no {typeof(T).Name}");

    /// <summary>False if a length, a range or the text is not what the table allows. The encoding is one that <see cref="Reads"/> accepts.</summary>
    public static bool TryDecode<T>(ValueEncoding encoding, ReadOnlySpan<byte> bytes, out T value)
    {
        Unsafe.SkipInit(out value);
        switch (ValueShape<T>.Kind)
        {
            case ValueKind.Text:
                value = default!;
                try
                {
                    value = As<string, T>(StrictUtf8.GetString(bytes));
                    return true;
                }
                catch (DecoderFallbackException)
                {
                    return false;
                }

            case ValueKind.Bytes:
                value = As<byte[], T>(bytes.ToArray());
                return true;
            case ValueKind.Signed or ValueKind.Unsigned:
                return IntegerCodec.TryRead(encoding, bytes, out value);
            case ValueKind.Boolean:
                value = As<bool, T>(bytes.Length == 1 && bytes[0] == 1);
                return bytes.Length == 1 && bytes[0] <= 1;
            case ValueKind.Double:
                var isDouble = TryReadDouble(bytes, out var wide);
                value = As<double, T>(wide);
                return isDouble;
            case ValueKind.Single:
                var isSingle = TryReadDouble(bytes, out wide) && (double.IsNaN(wide) || (float)wide == wide);
                value = As<float, T>((float)wide);
                return isSingle;
            case ValueKind.Decimal:
                var isDecimal = DecimalCodec.TryRead(bytes, out var number);
                value = As<decimal, T>(number);
                return isDecimal;
            case ValueKind.Guid:
                value = As<Guid, T>(bytes.Length == 16 ? new Guid(bytes, bigEndian: true) : default);
                return bytes.Length == 16;
            case ValueKind.DateTime:
                var isDateTime = TimeCodec.TryReadDateTime(bytes, out var dateTime);
                value = As<DateTime, T>(dateTime);
                return isDateTime;
            case ValueKind.DateTimeOffset:
                var isOffset = TimeCodec.TryReadDateTimeOffset(bytes, out var offset);
                value = As<DateTimeOffset, T>(offset);
                return isOffset;
            case ValueKind.DateOnly:
                var isDate = TimeCodec.TryReadDateOnly(bytes, out var date);
                value = As<DateOnly, T>(date);
                return isDate;
            case ValueKind.TimeOnly:
                var isTime = TimeCodec.TryReadTimeOnly(bytes, out var time);
                value = As<TimeOnly, T>(time);
                return isTime;
            case ValueKind.TimeSpan:
                value = As<TimeSpan, T>(bytes.Length == 8 ? new TimeSpan(BinaryPrimitives.ReadInt64BigEndian(bytes)) : default);
                return bytes.Length == 8;
            default:
                throw Unsupported(typeof(T));
        }
    }

    /// <summary>The value's bytes as a blind index takes them; for a string, call after the normaliser.</summary>
    public static byte[] IndexBytes<T>(T value)
    {
        switch (ValueShape<T>.Kind)
        {
            case ValueKind.Double when As<T, double>(value) == 0:
            case ValueKind.Single when As<T, float>(value) == 0:
                return new byte[8];
            case ValueKind.Decimal:
                return Encode(DecimalCodec.AtMinimalScale(As<T, decimal>(value)));
            case ValueKind.DateTime:
                return Encode(As<T, DateTime>(value).Ticks);
            case ValueKind.DateTimeOffset:
                return Encode(As<T, DateTimeOffset>(value).UtcTicks);
            default:
                return Encode(value);
        }
    }

    private static TTo As<TFrom, TTo>(TFrom value) => Unsafe.As<TFrom, TTo>(ref value);

    private static void WriteDouble(double value, Span<byte> destination) =>
        BinaryPrimitives.WriteUInt64BigEndian(destination, double.IsNaN(value) ? 0x7FF8000000000000 : BitConverter.DoubleToUInt64Bits(value));

    private static bool TryReadDouble(ReadOnlySpan<byte> bytes, out double value)
    {
        value = bytes.Length == 8 ? BinaryPrimitives.ReadDoubleBigEndian(bytes) : 0;
        return bytes.Length == 8;
    }

    private static EnvelopeConfigurationException Unsupported(Type type) =>
        new($"Type {type.Name} has no value encoding: use a supported scalar type or a value converter to one.");
}

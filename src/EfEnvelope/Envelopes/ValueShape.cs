namespace EfEnvelope.Envelopes;

/// <summary>What a CLR type is to the codec; enums are their underlying type.</summary>
internal enum ValueKind
{
    Unsupported,
    Text,
    Bytes,
    Signed,
    Unsigned,
    Boolean,
    Double,
    Single,
    Decimal,
    Guid,
    DateTime,
    DateTimeOffset,
    DateOnly,
    TimeOnly,
    TimeSpan,
}

/// <summary>The kind of a type, computed once; a constant to the compiler of the hot path.</summary>
internal static class ValueShape<T>
{
    public static readonly ValueKind Kind = ValueShape.KindOf(typeof(T));
    public static readonly ValueEncoding Encoding = ValueShape.EncodingOf(Kind);
}

internal static class ValueShape
{
    public static ValueKind KindOf(Type type)
    {
        switch (Type.GetTypeCode(type))
        {
            case TypeCode.String: return ValueKind.Text;
            case TypeCode.SByte or TypeCode.Int16 or TypeCode.Int32 or TypeCode.Int64: return ValueKind.Signed;
            case TypeCode.Byte or TypeCode.UInt16 or TypeCode.UInt32 or TypeCode.UInt64 or TypeCode.Char: return ValueKind.Unsigned;
            case TypeCode.Boolean: return ValueKind.Boolean;
            case TypeCode.Double: return ValueKind.Double;
            case TypeCode.Single: return ValueKind.Single;
            case TypeCode.Decimal: return ValueKind.Decimal;
            case TypeCode.DateTime: return ValueKind.DateTime;
            default:
                return type == typeof(byte[]) ? ValueKind.Bytes
                    : type == typeof(Guid) ? ValueKind.Guid
                    : type == typeof(DateTimeOffset) ? ValueKind.DateTimeOffset
                    : type == typeof(DateOnly) ? ValueKind.DateOnly
                    : type == typeof(TimeOnly) ? ValueKind.TimeOnly
                    : type == typeof(TimeSpan) ? ValueKind.TimeSpan
                    : ValueKind.Unsupported;
        }
    }

    public static ValueEncoding EncodingOf(ValueKind kind) => kind switch
    {
        ValueKind.Text => ValueEncoding.Text,
        ValueKind.Bytes => ValueEncoding.Bytes,
        ValueKind.Signed => ValueEncoding.SignedInteger,
        ValueKind.Unsigned => ValueEncoding.UnsignedInteger,
        ValueKind.Boolean => ValueEncoding.Boolean,
        ValueKind.Double or ValueKind.Single => ValueEncoding.FloatingPoint,
        ValueKind.Decimal => ValueEncoding.Decimal,
        ValueKind.Guid => ValueEncoding.Guid,
        ValueKind.DateTime => ValueEncoding.DateTime,
        ValueKind.DateTimeOffset => ValueEncoding.DateTimeOffset,
        ValueKind.DateOnly => ValueEncoding.DateOnly,
        ValueKind.TimeOnly or ValueKind.TimeSpan => ValueEncoding.Time,
        _ => ValueEncoding.None,
    };
}

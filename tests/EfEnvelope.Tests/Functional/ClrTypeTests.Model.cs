using System.Globalization;
using System.Net;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>The entity.</summary>
public abstract partial class ClrTypeTests
{
    public sealed class Everything
    {
        public int Id { get; set; }

        [Encrypted]
        public string Text { get; set; } = "";

        [Encrypted]
        public string? NullableText { get; set; }

        [Encrypted]
        public byte[] Bytes { get; set; } = [];

        [Encrypted]
        public byte[]? NullableBytes { get; set; }

        [Encrypted]
        public sbyte SByte { get; set; }

        [Encrypted]
        public sbyte? NullableSByte { get; set; }

        [Encrypted]
        public short Short { get; set; }

        [Encrypted]
        public short? NullableShort { get; set; }

        [Encrypted]
        public int Int { get; set; }

        [Encrypted]
        public int? NullableInt { get; set; }

        [Encrypted]
        public long Long { get; set; }

        [Encrypted]
        public long? NullableLong { get; set; }

        [Encrypted]
        public byte Byte { get; set; }

        [Encrypted]
        public byte? NullableByte { get; set; }

        [Encrypted]
        public ushort UShort { get; set; }

        [Encrypted]
        public ushort? NullableUShort { get; set; }

        [Encrypted]
        public uint UInt { get; set; }

        [Encrypted]
        public uint? NullableUInt { get; set; }

        [Encrypted]
        public ulong ULong { get; set; }

        [Encrypted]
        public ulong? NullableULong { get; set; }

        [Encrypted]
        public char Char { get; set; }

        [Encrypted]
        public char? NullableChar { get; set; }

        [Encrypted]
        public bool Bool { get; set; }

        [Encrypted]
        public bool? NullableBool { get; set; }

        [Encrypted]
        public double Double { get; set; }

        [Encrypted]
        public double? NullableDouble { get; set; }

        [Encrypted]
        public float Float { get; set; }

        [Encrypted]
        public float? NullableFloat { get; set; }

        [Encrypted]
        public decimal Decimal { get; set; }

        [Encrypted]
        public decimal? NullableDecimal { get; set; }

        [Encrypted]
        public Guid Guid { get; set; }

        [Encrypted]
        public Guid? NullableGuid { get; set; }

        [Encrypted]
        public DateTime DateTime { get; set; }

        [Encrypted]
        public DateTime? NullableDateTime { get; set; }

        [Encrypted]
        public DateTimeOffset Offset { get; set; }

        [Encrypted]
        public DateTimeOffset? NullableOffset { get; set; }

        [Encrypted]
        public DateOnly Date { get; set; }

        [Encrypted]
        public DateOnly? NullableDate { get; set; }

        [Encrypted]
        public TimeOnly Time { get; set; }

        [Encrypted]
        public TimeOnly? NullableTime { get; set; }

        [Encrypted]
        public TimeSpan Span { get; set; }

        [Encrypted]
        public TimeSpan? NullableSpan { get; set; }

        [Encrypted]
        public Small SmallEnum { get; set; }

        [Encrypted]
        public Large LargeEnum { get; set; }

        [Encrypted]
        public Level? NullableEnum { get; set; }

        [Encrypted]
        public Level TextEnum { get; set; }

        [Encrypted]
        public Level? NullableTextEnum { get; set; }

        [Encrypted]
        public Money Money { get; set; }

        [Encrypted]
        public Money? NullableMoney { get; set; }

        [Encrypted]
        public bool BoolAsText { get; set; }

        [Encrypted]
        public Guid GuidAsBytes { get; set; }

        [Encrypted]
        public int NumberAsText { get; set; }

        [Encrypted]
        public Uri? Site { get; set; }

        [Encrypted]
        public IPAddress? Address { get; set; }

        public int[]? Numbers { get; set; }

        public List<string>? Names { get; set; }

        public DateOnly[]? Days { get; set; }

        public List<Guid>? Guids { get; set; }

        public List<Level>? Enums { get; set; }

        public List<int?>? NullableNumbers { get; set; }

        [Encrypted(Armored = true)]
        public string? Armored { get; set; }

        [Encrypted(Armored = true)]
        public int? ArmoredNumber { get; set; }

        [Encrypted(Padding = 64)]
        public string? Padded { get; set; }
    }
}

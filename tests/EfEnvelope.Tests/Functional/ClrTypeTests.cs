using System.Globalization;
using System.Net;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteClrTypeTests() : ClrTypeTests("SQLite");

public sealed class PostgresClrTypeTests() : ClrTypeTests("PostgreSQL");

/// <summary>Every CLR type of the format, its nullable form, enums, conversions and primitive collections, sealed and read back (G29).</summary>
public abstract partial class ClrTypeTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public enum Small : byte
    {
        None,
        Top = 255,
    }

    public enum Large : long
    {
        Lowest = long.MinValue,
        None = 0,
    }

    public enum Level
    {
        Low,
        High,
    }

    public readonly record struct Money(decimal Amount);

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Every_type_comes_back_as_it_was_saved()
    {
        await SaveAsync(Sample(1));
        await using var context = New();
        AssertEqual(Sample(1), await context.Set<Everything>().SingleAsync());
        Assert.Equal(Columns(context), await StoredCells.AssertSealedAsync(_database, context, "canary"));
    }

    [Fact]
    public void Every_type_comes_back_through_the_synchronous_calls()
    {
        using (var context = New())
        {
            context.Add(Sample(1));
            Assert.Equal(1, context.SaveChanges());
        }

        using var reader = New();
        AssertEqual(Sample(1), reader.Set<Everything>().AsNoTracking().Single());
    }

    [Fact]
    public async Task Null_stays_null_in_every_nullable_form()
    {
        await SaveAsync(new Everything { Id = 2, Text = "", Bytes = [] });
        await using var context = New();
        var seen = await context.Set<Everything>().SingleAsync();
        foreach (var property in context.Model.FindEntityType(typeof(Everything))!.GetProperties().Where(p => p.IsNullable))
        {
            Assert.Null(property.PropertyInfo!.GetValue(seen));
            Assert.Null(await _database.ScalarAsync($"SELECT \"{property.GetColumnName()}\" FROM \"Everything\""));
        }

        Assert.Equal("", seen.Text);
        Assert.Equal([], seen.Bytes);
        Assert.IsType<byte[]>(await _database.ScalarAsync("SELECT \"Text\" FROM \"Everything\""));
    }

    [Fact]
    public async Task Each_property_alone_projects_its_value()
    {
        await SaveAsync(Sample(1));
        await using var context = New();
        var rows = context.Set<Everything>();
        Assert.Equal(sbyte.MinValue, await rows.Select(e => e.SByte).SingleAsync());
        Assert.Equal('ß', await rows.Select(e => e.Char).SingleAsync());
        Assert.Equal(Small.Top, await rows.Select(e => e.SmallEnum).SingleAsync());
        Assert.Equal(Level.High, await rows.Select(e => e.TextEnum).SingleAsync());
        Assert.Equal(ulong.MaxValue, await rows.Select(e => e.NullableULong).SingleAsync());
        Assert.Equal("1,2,3", string.Join(",", (await rows.Select(e => e.Numbers).SingleAsync())!));
        Assert.Equal(IPAddress.Loopback, await rows.Select(e => e.Address).SingleAsync());
        Assert.Equal(new Money(12.50m), await rows.Select(e => e.Money).SingleAsync());
        Assert.Equal("canary", await rows.Select(e => new { e.Armored }).Select(e => e.Armored).SingleAsync());
    }

    [Fact]
    public async Task A_change_inside_a_collection_or_array_is_seen_and_saved()
    {
        await SaveAsync(Sample(1));
        await using (var context = New())
        {
            var row = await context.Set<Everything>().SingleAsync();
            row.Numbers![0] = 99;
            row.Names!.Add("four");
            row.Bytes = [77, 2, 255];
            row.Days![^1] = new DateOnly(2001, 2, 3);
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using var reader = New();
        var seen = await reader.Set<Everything>().SingleAsync();
        Assert.Equal([99, 2, 3], seen.Numbers!);
        Assert.Equal(["canary one", "", "ü\"\\", "four"], seen.Names!);
        Assert.Equal([77, 2, 255], seen.Bytes);
        Assert.Equal(new DateOnly(2001, 2, 3), seen.Days![^1]);
    }

    [Fact]
    public async Task Text_that_is_no_unicode_is_refused_and_nothing_is_written()
    {
        await using var context = New();
        var row = Sample(1);
        row.Text = "\ud800";
        context.Add(row);
        var error = await Assert.ThrowsAnyAsync<Exception>(() => context.SaveChangesAsync());
        Assert.Contains(Causes(error), e => e is EnvelopeRefusedException { ColumnId: "Everything.Text" });
        Assert.Equal(0, await StoredCells.CountAsync(_database, "Everything"));
    }

    [Fact]
    public async Task Several_hundred_rows_in_one_save_each_get_their_own_cells()
    {
        await using (var context = New())
        {
            context.AddRange(Enumerable.Range(1, 300).Select(Sample));
            Assert.Equal(300, await context.SaveChangesAsync());
        }

        await using var reader = New();
        var rows = await reader.Set<Everything>().OrderBy(e => e.Id).ToListAsync();
        Assert.Equal(Enumerable.Range(1, 300), rows.Select(r => r.Int));
        Assert.Equal(300L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(DISTINCT \"Text\") FROM \"Everything\"")));
    }

    private static IEnumerable<Exception> Causes(Exception? error)
    {
        for (; error is not null; error = error.InnerException)
        {
            yield return error;
        }
    }

    private static int Columns(DbContext context) => context.Model.FindEntityType(typeof(Everything))!.GetProperties().Count() - 1;

    private static void AssertEqual(Everything expected, Everything actual)
    {
        foreach (var property in typeof(Everything).GetProperties())
        {
            Assert.True(Same(property.GetValue(expected), property.GetValue(actual)), $"{property.Name}: {property.GetValue(expected)} became {property.GetValue(actual)}");
        }

        Assert.Equal(expected.DateTime.Kind, actual.DateTime.Kind);
        Assert.Equal(expected.Offset.Offset, actual.Offset.Offset);
        Assert.Equal("1.500", actual.Decimal.ToString(CultureInfo.InvariantCulture));
        static bool Same(object? a, object? b) => a is System.Collections.IEnumerable x and not string ? x.Cast<object?>().SequenceEqual(((System.Collections.IEnumerable)b!).Cast<object?>()) : Equals(a, b);
    }

    private static Everything Sample(int n) => new()
    {
        Id = n,
        Text = "canary",
        NullableText = "ü€😀",
        Bytes = [1, 2, 255],
        NullableBytes = [],
        SByte = sbyte.MinValue,
        Short = short.MinValue,
        Int = n,
        Long = long.MinValue,
        Byte = 255,
        UShort = ushort.MaxValue,
        UInt = uint.MaxValue,
        ULong = ulong.MaxValue,
        Char = 'ß',
        Bool = true,
        Double = Math.PI,
        Float = 1.25f,
        Decimal = 1.500m,
        Guid = new Guid("00112233-4455-6677-8899-aabbccddeeff"),
        DateTime = new DateTime(2026, 1, 2, 3, 4, 5, 6, DateTimeKind.Local).AddTicks(7),
        Offset = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.FromMinutes(-210)).AddTicks(9),
        Date = new DateOnly(1999, 12, 31),
        Time = new TimeOnly(23, 59, 59, 999, 999),
        Span = TimeSpan.MinValue,
        NullableSByte = -1,
        NullableShort = 2,
        NullableInt = int.MinValue,
        NullableLong = 4,
        NullableByte = 5,
        NullableUShort = 6,
        NullableUInt = 7,
        NullableULong = ulong.MaxValue,
        NullableChar = '\0',
        NullableBool = false,
        NullableDouble = double.NaN,
        NullableFloat = float.NegativeInfinity,
        NullableDecimal = decimal.MinValue,
        NullableGuid = Guid.Empty,
        NullableDateTime = new DateTime(1, DateTimeKind.Utc),
        NullableOffset = DateTimeOffset.MaxValue,
        NullableDate = DateOnly.MinValue,
        NullableTime = TimeOnly.MinValue,
        NullableSpan = TimeSpan.FromDays(3),
        SmallEnum = Small.Top,
        LargeEnum = Large.Lowest,
        NullableEnum = Level.High,
        TextEnum = Level.High,
        NullableTextEnum = Level.Low,
        Site = new Uri("https://canary.example/"),
        Money = new Money(12.50m),
        NullableMoney = new Money(-1m),
        BoolAsText = true,
        GuidAsBytes = new Guid("00112233-4455-6677-8899-aabbccddeeff"),
        NumberAsText = 42,
        Address = IPAddress.Loopback,
        Numbers = [1, 2, 3],
        Names = ["canary one", "", "ü\"\\"],
        Days = [new DateOnly(2000, 1, 1), new DateOnly(2000, 1, 2)],
        Guids = [Guid.Empty],
        Enums = [Level.High, Level.Low],
        NullableNumbers = [1, null, 3],
        Armored = "canary",
        ArmoredNumber = 7,
        Padded = "canary",
    };

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private async Task SaveAsync(Everything row)
    {
        await using var context = New();
        context.Add(row);
        Assert.Equal(1, await context.SaveChangesAsync());
    }

    private static void Model(ModelBuilder model)
    {
        model.Entity<Everything>(e =>
        {
            e.ToTable("Everything");
            e.Property(x => x.Id).ValueGeneratedNever();
            e.PrimitiveCollection(x => x.Numbers).IsEncrypted();
            e.PrimitiveCollection(x => x.Names).IsEncrypted();
            e.PrimitiveCollection(x => x.Days).IsEncrypted();
            e.PrimitiveCollection(x => x.Guids).IsEncrypted();
            e.PrimitiveCollection(x => x.Enums).IsEncrypted();
            e.PrimitiveCollection(x => x.NullableNumbers).IsEncrypted();
            e.Property(x => x.TextEnum).HasConversion<string>();
            e.Property(x => x.NullableTextEnum).HasConversion<string>();
            e.Property(x => x.Site).HasConversion(u => u!.ToString(), s => new Uri(s));
            e.Property(x => x.Money).HasConversion(m => m.Amount, d => new Money(d));
            e.Property(x => x.NullableMoney).HasConversion(m => m!.Value.Amount, d => new Money(d));
            e.Property(x => x.BoolAsText).HasConversion<string>();
            e.Property(x => x.GuidAsBytes).HasConversion<byte[]>();
            e.Property(x => x.NumberAsText).HasConversion<string>();
            e.Property(x => x.Address).HasConversion<string>();
        });
        model.UseEnvelopeEncryption();
    }
}

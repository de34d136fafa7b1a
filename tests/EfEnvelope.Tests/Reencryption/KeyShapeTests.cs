using System.Globalization;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteKeyShapeTests() : KeyShapeTests("SQLite");

public sealed class PostgresKeyShapeTests() : KeyShapeTests("PostgreSQL");

/// <summary>The job walks tables by whatever primary key they have, in several units of several batches, and rewrites every row once.</summary>
public abstract class KeyShapeTests(string provider) : IAsyncLifetime
{
    private const int Rows = 230;

    private static readonly Action<ModelBuilder> Model = model =>
    {
        Map<short>(model, "Shorts");
        Map<int>(model, "Ints");
        Map<long>(model, "Longs");
        Map<uint>(model, "Unsigned");
        Map<Guid>(model, "Guids");
        Map<string>(model, "Strings");
        Map<decimal>(model, "Decimals");
        Map<double>(model, "Doubles");
        Map<byte[]>(model, "Bytes");
        Map<DateTime>(model, "Times");
        Map<DateTimeOffset>(model, "Offsets");
        Map<DateOnly>(model, "Dates");
        Map<TimeSpan>(model, "Spans");
        Map<OrderNumber>(model, "Orders").Property(r => r.Id).HasConversion(id => id.Value, value => new OrderNumber(value));
        Map<OrderCode>(model, "Codes").Property(r => r.Id).HasConversion(id => $"O-{id.Value}", value => OrderCode.Parse(value));
        Map<Colour>(model, "Colours");
        Map<Taste>(model, "Tastes").Property(r => r.Id).HasConversion<string>();
        model.Entity<Line>(line =>
        {
            line.HasKey(l => new { l.Book, l.Number, l.Day });
            line.Property(l => l.Book).HasMaxLength(20);
        });
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Every_type_of_primary_key_is_walked_in_units_and_no_row_is_missed()
    {
        await using (var context = New())
        {
            Add(context, n => (short)(n - 100));
            Add(context, n => n - 100);
            Add(context, n => ((long)n << 33) - 7_000_000_000);
            Add(context, n => uint.MaxValue - (uint)n);
            Add(context, n => new Guid(n * 7919, (short)n, 3, 1, 2, 3, 4, 5, 6, 7, (byte)n));
            Add(context, n => "%_'\"Ääz aB-"[n % 11] + n.ToString(CultureInfo.InvariantCulture));
            Add(context, n => (n - 100) * 1.25m);
            Add(context, n => (n - 100) * 0.125);
            Add(context, n => new[] { (byte)(n * 31), (byte)n, (byte)(n >> 1) });
            Add(context, n => new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc).AddSeconds(n * 1000.5));
            Add(context, n => new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddSeconds(n * 1000.5));
            Add(context, n => new DateOnly(2026, 1, 1).AddDays(n));
            Add(context, n => TimeSpan.FromMinutes(n * 3.5));
            Add(context, n => new OrderNumber(n * 11));
            Add(context, n => new OrderCode(n * 7));
            Add(context, n => (Colour)n);
            Add(context, n => (Taste)n);
            context.AddRange(Enumerable.Range(0, Rows).Select(n => new Line { Book = "bB-a"[n % 4] + "'s", Number = n / 3, Day = new DateOnly(2026, 1, 1).AddDays(n % 3), First = $"first {n}", Second = $"second {n}" }));
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
        }

        await using var job = New();
        var report = await new EnvelopeKeys(job).ReencryptAsync(new ReencryptionOptions { BatchSize = 30, UnitSize = 100, CutOffTimeout = TimeSpan.FromSeconds(30) });

        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((18L * Rows, 0L, 0L), (report.Rows, report.Conflicts, report.Quarantined));
        Assert.Equal(18L * 3, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeJobUnits\""), CultureInfo.InvariantCulture));
        await using var reader = New();
        await AssertAsync<short>(reader);
        await AssertAsync<int>(reader);
        await AssertAsync<long>(reader);
        await AssertAsync<uint>(reader);
        await AssertAsync<Guid>(reader);
        await AssertAsync<string>(reader);
        await AssertAsync<decimal>(reader);
        await AssertAsync<double>(reader);
        await AssertAsync<byte[]>(reader);
        await AssertAsync<DateTime>(reader);
        await AssertAsync<DateTimeOffset>(reader);
        await AssertAsync<DateOnly>(reader);
        await AssertAsync<TimeSpan>(reader);
        await AssertAsync<OrderNumber>(reader);
        await AssertAsync<OrderCode>(reader);
        await AssertAsync<Colour>(reader);
        await AssertAsync<Taste>(reader);
        Assert.Equal(Expected(), (await reader.Set<Line>().ToListAsync()).Select(l => (l.First, l.Second)).Order());
    }

    private static EntityTypeBuilder<Row<T>> Map<T>(ModelBuilder model, string table)
    {
        var entity = model.Entity<Row<T>>().ToTable(table);
        entity.Property(r => r.Id).ValueGeneratedNever();
        entity.Property(r => r.First).IsEncrypted(e => e.HasColumnId($"{table}.First"));
        entity.Property(r => r.Second).IsEncrypted(e => e.HasColumnId($"{table}.Second"));
        return entity;
    }

    private static void Add<T>(DbContext context, Func<int, T> key)
        => context.AddRange(Enumerable.Range(0, Rows).Select(n => new Row<T> { Id = key(n), First = $"first {n}", Second = $"second {n}" }));

    private static async Task AssertAsync<T>(DbContext context)
        => Assert.Equal(Expected(), (await context.Set<Row<T>>().AsNoTracking().ToListAsync()).Select(r => (r.First, r.Second)).Order());

    private static IEnumerable<(string?, string?)> Expected() => Enumerable.Range(0, Rows).Select(n => ((string?)$"first {n}", (string?)$"second {n}")).Order();

    private AdHocContext New() => new(_database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) }), AdHocContext.Cached), Model);

    private enum Colour
    {
        None,
    }

    private enum Taste
    {
        None,
    }

    private readonly record struct OrderNumber(long Value);

    private readonly record struct OrderCode(int Value)
    {
        public static OrderCode Parse(string text) => new(int.Parse(text.AsSpan(2), NumberStyles.None, CultureInfo.InvariantCulture));
    }

    private sealed class Row<T>
    {
        public T Id { get; set; } = default!;

        [Encrypted]
        public string? First { get; set; }

        [Encrypted(Armored = true)]
        public string? Second { get; set; }
    }

    private sealed class Line
    {
        public string Book { get; set; } = "";

        public int Number { get; set; }

        public DateOnly Day { get; set; }

        [Encrypted]
        public string? First { get; set; }

        [Encrypted]
        public string? Second { get; set; }
    }
}

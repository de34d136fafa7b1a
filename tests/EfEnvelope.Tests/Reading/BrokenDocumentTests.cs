using System.Text.Json;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteBrokenDocumentTests() : BrokenDocumentTests("SQLite")
{
    /// <summary>SQLite keeps any text, and any storage class, in any column.</summary>
    [Theory]
    [InlineData("'{\"Secret\":\"canary'")]
    [InlineData("''")]
    [InlineData("'canary'")]
    [InlineData("x'7b7d'")]
    [InlineData("x'c1ffee'")]
    [InlineData("42")]
    [InlineData("4.5")]
    public Task What_is_no_JSON_document_is_refused(string literal) => AssertRefusedAsync(literal, "Detail");
}

public sealed class PostgresBrokenDocumentTests() : BrokenDocumentTests("PostgreSQL");

/// <summary>JSON that is not what the model expects: in a document with encrypted members, and inside an envelope.</summary>
public abstract class BrokenDocumentTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = m =>
    {
        m.Entity<Paper>(paper =>
        {
            paper.HasDataKeyPerTenant(p => p.TenantId);
            paper.OwnsOne(p => p.Detail, detail => detail.ToJson());
            paper.ComplexProperty(p => p.Extra, extra => extra.ToJson());
        });
        m.UseEnvelopeEncryption();
    };

    private static readonly Action<ModelBuilder> Retyped = m =>
    {
        m.Entity<RetypedPaper>(paper =>
        {
            paper.ToTable("Paper");
            paper.HasDataKeyPerTenant(p => p.TenantId);
            paper.Property(p => p.Tags).IsEncrypted(e => e.HasColumnId("Paper.Tags"));
        });
        m.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        foreach (var tenant in new[] { 1, 2 })
        {
            context.Add(new Paper
            {
                TenantId = tenant,
                Tags = ["canary", "tag"],
                Detail = new Detail { Kind = "k", Number = 7, Day = new DateOnly(2020, 1, 2), Secret = "canary secret" },
                Extra = new Detail { Kind = "k", Number = 8, Open = true, Secret = "canary extra" },
            });
        }

        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("'7'", "Detail")]
    [InlineData("'\"canary\"'", "Detail")]
    [InlineData("'[]'", "Detail")]
    [InlineData("'[{\"Kind\":\"canary\"}]'", "Extra")]
    [InlineData("'{\"Kind\":\"k\",\"Number\":7,\"Day\":\"2020-01-02\",\"Secret\":7}'", "Detail")]
    [InlineData("'{\"Kind\":\"k\",\"Number\":7,\"Day\":\"2020-01-02\",\"Secret\":[\"canary\"]}'", "Detail")]
    [InlineData("'{\"Kind\":\"k\",\"Number\":7,\"Day\":\"2020-01-02\",\"Secret\":{\"canary\":1}}'", "Detail")]
    [InlineData("'{\"Kind\":\"k\",\"Number\":8,\"Secret\":true}'", "Extra")]
    [InlineData("'{\"Kind\":\"k\",\"Number\":7,\"Day\":\"2020-01-02\",\"Secret\":\"canary\"}'", "Detail")]
    [InlineData("'{\"Kind\":\"k\",\"Number\":8,\"Secret\":\"efe1:canary\"}'", "Extra")]
    public Task A_document_of_another_shape_is_refused(string literal, string column) => AssertRefusedAsync(literal, column);

    [Fact]
    public async Task Genuine_JSON_of_another_type_is_refused()
    {
        await using var context = new AdHocContext(_database.Options(more: AdHocContext.Cached), Retyped);
        foreach (var read in new Func<Task>[] { () => context.Set<RetypedPaper>().AsNoTracking().ToListAsync(), () => context.Set<RetypedPaper>().Select(p => p.Tags).ToListAsync() })
        {
            var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(read);
            Assert.Equal("Paper.Tags", error.ColumnId);
            Assert.NotNull(error.KeyId);
            Assert.Null(error.InnerException);
            Assert.Contains("Check whether the property's type was changed", error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Plain_members_of_every_type_are_projected_beside_encrypted_ones()
    {
        await using var context = New();
        var papers = context.Set<Paper>().Where(p => p.TenantId == 1);
        Assert.Equal(("k", 7, "canary secret"), await papers.Select(p => new ValueTuple<string, int, string?>(p.Detail.Kind, p.Detail.Number, p.Detail.Secret)).SingleAsync());
        Assert.Equal(new DateOnly(2020, 1, 2), await papers.Select(p => p.Detail.Day).SingleAsync());
        Assert.Equal((8, true, "canary extra"), await papers.Select(p => new ValueTuple<int, bool, string?>(p.Extra.Number, p.Extra.Open, p.Extra.Secret)).SingleAsync());
        Assert.Equal([7, 7], await context.Set<Paper>().Select(p => p.Detail.Number).ToListAsync());
        Assert.Equal("canary extra", (await papers.Select(p => p.Extra).AsNoTracking().SingleAsync()).Secret);
    }

    [Fact]
    public async Task Text_of_the_form_of_armour_in_a_plain_member_is_text_and_refused_in_an_encrypted_one()
    {
        var document = Assert.IsType<string>(await _database.ScalarAsync("SELECT \"Detail\" FROM \"Paper\" WHERE \"TenantId\" = 2"));
        var foreign = JsonDocument.Parse(document).RootElement.GetProperty("Secret").GetString()!;
        var unknown = "efe1:wQEB" + new string('A', 72);
        await using (var context = New())
        {
            var paper = await context.Set<Paper>().SingleAsync(p => p.TenantId == 1);
            (paper.Detail.Kind, paper.Detail.Words, paper.Extra.Kind, paper.Extra.Words) = (foreign, [unknown, "w"], unknown, [foreign]);
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            var paper = (await context.Set<Paper>().AsNoTracking().OrderBy(p => p.TenantId).ToListAsync())[0];
            Assert.Equal((foreign, unknown, "canary secret", "canary extra"), (paper.Detail.Kind, paper.Extra.Kind, paper.Detail.Secret, paper.Extra.Secret));
            Assert.Equal([unknown, "w", foreign], [.. paper.Detail.Words!, .. paper.Extra.Words!]);
            Assert.Equal(foreign, (await context.Set<Paper>().Where(p => p.TenantId == 1).Select(p => p.Detail).AsNoTracking().SingleAsync()).Kind);
        }

        foreach (var text in new[] { foreign, unknown })
        {
            await _database.ExecuteAsync($"UPDATE \"Paper\" SET \"Detail\" = '{{\"Kind\":\"k\",\"Number\":7,\"Day\":\"2020-01-02\",\"Secret\":\"{text}\"}}' WHERE \"TenantId\" = 1");
            await using var context = New();
            Assert.True(await Record.ExceptionAsync(() => context.Set<Paper>().AsNoTracking().ToListAsync()) is EnvelopeRefusedException or KeyNotFoundInRingException, text);
        }
    }

    protected async Task AssertRefusedAsync(string literal, string column)
    {
        var cast = provider == "SQLite" ? literal : $"{literal}::jsonb";
        Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"Paper\" SET \"{column}\" = {cast} WHERE \"TenantId\" = 1"));
        await using var context = New();
        foreach (var read in new Func<Task>[]
        {
            () => context.Set<Paper>().AsNoTracking().ToListAsync(),
            () => context.Set<Paper>().SingleAsync(p => p.TenantId == 1),
            () => Task.Run(() => context.Set<Paper>().AsNoTracking().Single(p => p.TenantId == 1)),
        })
        {
            var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(read);
            Assert.Contains(column, error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        }

        var other = await context.Set<Paper>().AsNoTracking().SingleAsync(p => p.TenantId == 2);
        Assert.Equal(("canary secret", "canary extra"), (other.Detail.Secret, other.Extra.Secret));
        Assert.Equal(2, await StoredCells.CountAsync(_database, "Paper"));
    }

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private sealed class Paper
    {
        public int Id { get; set; }

        public int TenantId { get; set; }

        [Encrypted]
        public List<string>? Tags { get; set; }

        public Detail Detail { get; set; } = new();

        public Detail Extra { get; set; } = new();
    }

    private sealed class RetypedPaper
    {
        public int Id { get; set; }

        public int TenantId { get; set; }

        public List<int>? Tags { get; set; }
    }

    private sealed class Detail
    {
        public string Kind { get; set; } = "";

        public List<string>? Words { get; set; }

        public int Number { get; set; }

        public bool Open { get; set; }

        public DateOnly Day { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }
}

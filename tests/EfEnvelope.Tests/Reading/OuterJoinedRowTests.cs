using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteOuterJoinedRowTests() : OuterJoinedRowTests("SQLite");

public sealed class PostgresOuterJoinedRowTests() : OuterJoinedRowTests("PostgreSQL");

/// <summary>A row that an outer join finds once more, or does not: what is missing names no row.</summary>
public abstract class OuterJoinedRowTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Note>(note =>
        {
            note.ToTable("Notes").HasDataKeyPerTenant(n => n.Tenant);
            note.Property(n => n.Id).ValueGeneratedNever();
            note.Property(n => n.Bound).IsEncrypted(e => e.IsRowBound());
        });
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.AddRange(new Note { Id = 1, Tenant = 1, Rank = 5, Other = 2, Secret = "secret 1", Bound = "bound 1" }, new Note { Id = 2, Tenant = 2, Rank = 6, Other = 1, Secret = "secret 2", Bound = "bound 2" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_row_bound_cell_takes_its_key_from_its_own_row_where_the_row_is_joined_once_more()
    {
        await using var context = New();
        var notes = context.Set<Note>();
        var rows = await notes.LeftJoin(notes, n => new { n.Id, Rank = 5 }, o => new { o.Id, o.Rank }, (n, o) => new { OtherId = (int?)o!.Id, n.Id, n.Bound }).ToListAsync();
        Assert.Equal(["bound 1", "bound 2"], rows.OrderBy(r => r.Id).Select(r => r.Bound));
        Assert.Equal([1, null], rows.OrderBy(r => r.Id).Select(r => r.OtherId));
    }

    [Fact]
    public async Task A_row_bound_cell_whose_key_is_missing_is_refused_as_such()
    {
        await using var context = New();
        var notes = context.Set<Note>();
        var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(() => notes.LeftJoin(notes, n => new { n.Id, Rank = 5 }, o => new { o.Id, o.Rank }, (n, o) => new { OtherId = (int?)o!.Id, n.Bound }).ToListAsync());
        Assert.Equal("Note.Bound", error.Property);
    }

    [Fact]
    public async Task A_bulk_update_takes_no_tenant_of_a_row_that_only_an_outer_join_links()
    {
        await using (var context = New())
        {
            var notes = context.Set<Note>();
            var others = notes
                .Join(notes, n => n.Other, t => t.Id, (n, t) => new { n, t })
                .LeftJoin(notes, x => new { One = x.n.Id, Two = x.t.Id }, c => new { One = c.Id, Two = c.Id }, (x, c) => new { x.n, x.t, c });
            var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => others.Where(x => x.t.Tenant == 1).Select(x => x.n).ExecuteUpdateAsync(s => s.SetProperty(n => n.Secret, "evil")));
            Assert.Equal("Secret", error.Property);

            // What the filter says of the joined row itself holds: it is there.
            var same = notes.LeftJoin(notes, n => n.Id, c => c.Id, (n, c) => new { n, c });
            Assert.Equal(1, await same.Where(x => x.c!.Tenant == 1).Select(x => x.n).ExecuteUpdateAsync(s => s.SetProperty(n => n.Secret, "bulk")));
        }

        await using var reader = New();
        Assert.Equal(["bulk", "secret 2"], await reader.Set<Note>().OrderBy(n => n.Id).Select(n => n.Secret).ToListAsync());
        Assert.Equal(2, (await reader.Set<Note>().AsNoTracking().ToListAsync()).Count);
    }

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private sealed class Note
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public int Rank { get; set; }

        public int Other { get; set; }

        [Encrypted]
        public string? Secret { get; set; }

        public string? Bound { get; set; }
    }
}

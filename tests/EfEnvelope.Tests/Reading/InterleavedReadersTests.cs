using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteInterleavedReadersTests() : InterleavedReadersTests("SQLite");

public sealed class PostgresInterleavedReadersTests() : InterleavedReadersTests("PostgreSQL");

/// <summary>JSON documents and armour that are opened on the threads of other readers: what one reader left on a thread must not stand in another's way.</summary>
public abstract class InterleavedReadersTests(string provider) : IAsyncLifetime
{
    private const int Rows = 12;
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        for (var i = 0; i < Rows; i++)
        {
            context.Add(new File { TenantId = i < Rows - 1 ? TenantA : TenantB, Inner = new Inner { Theme = "t", Secret = $"s{i}" } });
            context.Add(new Chit { TenantId = TenantB, Text = $"t{i}" });
            context.Add(new Memo { Id = i + 1, Text = $"m{i}" });
        }

        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Buffered_armour_opens_while_another_reader_stands_on_a_JSON_document(bool disposedElsewhere)
    {
        using var one = New();
        using var two = New();
        using var chits = two.Chits.AsNoTracking().OrderBy(c => c.Id).AsEnumerable().GetEnumerator();
        var files = one.Files.AsNoTracking().OrderBy(f => f.Id).Select(f => f.Inner).AsEnumerable().GetEnumerator();
        Assert.True(chits.MoveNext());
        Assert.True(files.MoveNext());
        if (disposedElsewhere)
        {
            var other = new Thread(files.Dispose);
            other.Start();
            other.Join();
        }

        Assert.True(chits.MoveNext());
        Assert.Equal("t1", chits.Current.Text);
        if (!disposedElsewhere)
        {
            Assert.True(files.MoveNext());
            Assert.Equal("s1", files.Current!.Secret);
            files.Dispose();
        }

        Assert.True(chits.MoveNext());
        Assert.Equal("t2", chits.Current.Text);
    }

    [Fact]
    public async Task Documents_and_armour_open_on_any_thread_under_load_with_retries_on()
    {
        await Parallel.ForEachAsync(Enumerable.Range(0, 120), new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (n, token) =>
        {
            await using var context = New(retry: n % 4 != 3);
            switch (n % 3)
            {
                case 0:
                    var files = new List<string?>();
                    await foreach (var inner in context.Files.AsNoTracking().OrderBy(f => f.Id).Select(f => f.Inner).AsAsyncEnumerable().WithCancellation(token))
                    {
                        files.Add(inner!.Secret);
                        await Task.Yield();
                    }

                    Assert.Equal(Enumerable.Range(0, Rows).Select(i => $"s{i}"), files);
                    break;
                case 1:
                    var chits = new List<string>();
                    await foreach (var chit in context.Chits.AsNoTracking().OrderBy(c => c.Id).AsAsyncEnumerable().WithCancellation(token))
                    {
                        chits.Add(chit.Text);
                        await Task.Yield();
                    }

                    Assert.Equal(Enumerable.Range(0, Rows).Select(i => $"t{i}"), chits);
                    break;
                default:
                    var memos = new List<string>();
                    await foreach (var memo in context.Memos.AsNoTracking().OrderBy(m => m.Id).AsAsyncEnumerable().WithCancellation(token))
                    {
                        memos.Add(memo.Text);
                        await Task.Yield();
                    }

                    Assert.Equal(Enumerable.Range(0, Rows).Select(i => $"m{i}"), memos);
                    break;
            }
        });
    }

    private FileContext New(bool retry = false) => new(_database.Options(more: o =>
    {
        if (!retry)
        {
            return;
        }

        if (provider == "SQLite")
        {
            o.UseSqlite(_database.ConnectionString, s => s.ExecutionStrategy(d => new RetryingStrategy(d)));
        }
        else
        {
            o.UseNpgsql(_database.ConnectionString, n => n.EnableRetryOnFailure());
        }
    }));

    public sealed class File
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        public Inner? Inner { get; set; }
    }

    public sealed class Inner
    {
        public string Theme { get; set; } = "";

        [Encrypted]
        public string? Secret { get; set; }
    }

    /// <summary>Buffered always, for its row keys.</summary>
    public sealed class Chit
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted(Armored = true)]
        public required string Text { get; set; }
    }

    /// <summary>Armoured and bound to its primary key.</summary>
    public sealed class Memo
    {
        public int Id { get; set; }

        [Encrypted(Armored = true, RowBound = true)]
        public required string Text { get; set; }
    }

    public sealed class FileContext(DbContextOptions options) : DbContext(options)
    {
        public DbSet<File> Files => Set<File>();

        public DbSet<Chit> Chits => Set<Chit>();

        public DbSet<Memo> Memos => Set<Memo>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<File>(file =>
            {
                file.HasDataKeyPerTenant(f => f.TenantId);
                file.OwnsOne(f => f.Inner, inner => inner.ToJson());
            });
            modelBuilder.Entity<Chit>().HasDataKeyPerTenant(c => c.TenantId).HasDataKeyPerRow();
            modelBuilder.Entity<Memo>().Property(m => m.Id).ValueGeneratedNever();
            modelBuilder.UseEnvelopeEncryption();
        }
    }

    private sealed class RetryingStrategy(ExecutionStrategyDependencies dependencies) : ExecutionStrategy(dependencies, maxRetryCount: 3, maxRetryDelay: TimeSpan.FromMilliseconds(1))
    {
        protected override bool ShouldRetryOn(Exception exception) => exception is NpgsqlException { IsTransient: true };
    }
}

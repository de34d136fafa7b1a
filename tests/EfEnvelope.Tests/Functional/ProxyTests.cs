using System.Collections.ObjectModel;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteProxyTests() : ProxyTests("SQLite");

public sealed class PostgresProxyTests() : ProxyTests("PostgreSQL");

/// <summary>Entities whose classes EF derives at run time (Microsoft.EntityFrameworkCore.Proxies).</summary>
public abstract class ProxyTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New(_ => { });
        await context.Database.EnsureCreatedAsync();
        context.Add(new Shelf { TenantId = Tenant, Name = "canary shelf", Place = new Place { Hall = "one", Code = "canary code" }, Books = [new Book { TenantId = Tenant, Title = "canary book", Year = 1999 }] });
        Assert.Equal(2, await context.SaveChangesAsync());
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Lazy_loading_opens_the_rows_that_it_loads()
    {
        await using (var context = New(o => o.UseLazyLoadingProxies()))
        {
            var shelf = await context.Shelves.SingleAsync();
            Assert.NotEqual(typeof(Shelf), shelf.GetType());
            Assert.Equal(("canary shelf", "canary code"), (shelf.Name, shelf.Place.Code));
            var book = Assert.Single(shelf.Books);
            Assert.Equal(("canary book", 1999), (book.Title, book.Year));
            Assert.Same(shelf, book.Shelf);
            book.Title = "canary renamed";
            shelf.Books.Add(context.CreateProxy<Book>(b => (b.TenantId, b.Title) = (Tenant, "canary new")));
            Assert.Equal(2, await context.SaveChangesAsync());
        }

        await using (var context = New(o => o.UseLazyLoadingProxies()))
        {
            // The other way round, from a row with a key of its own.
            var book = await context.Books.OrderBy(b => b.Id).FirstAsync();
            Assert.Equal(("canary renamed", "canary shelf"), (book.Title, book.Shelf!.Name));
            Assert.Equal(2, book.Shelf.Books.Count);
        }

        await AssertStoredAsync("canary shelf", "canary new", "canary renamed");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Change_tracking_proxies_tell_of_encrypted_values(bool lazy)
    {
        void Proxies(DbContextOptionsBuilder o) => (lazy ? o.UseLazyLoadingProxies() : o).UseChangeTrackingProxies();
        await using (var context = New(Proxies))
        {
            context.ChangeTracker.AutoDetectChangesEnabled = false;
            var shelf = await context.Shelves.Include(s => s.Books).SingleAsync();
            shelf.Name = "canary changed";
            shelf.Books[0].Title = "canary title";
            Assert.Equal((EntityState.Modified, EntityState.Modified), (context.Entry(shelf).State, context.Entry(shelf.Books[0]).State));
            shelf.Books.Add(context.CreateProxy<Book>(b => (b.TenantId, b.Title, b.Year) = (Tenant, "canary second", 7)));
            Assert.Equal(3, await context.SaveChangesAsync());
        }

        await AssertStoredAsync("canary changed", "canary second", "canary title");
    }

    private async Task AssertStoredAsync(string shelf, params string[] titles)
    {
        await using var context = New(_ => { });
        var found = await context.Shelves.AsNoTracking().Include(s => s.Books).SingleAsync();
        Assert.Equal((shelf, "canary code"), (found.Name, found.Place.Code));
        Assert.Equal(titles, found.Books.Select(b => b.Title).Order(StringComparer.Ordinal));
        Assert.Equal(2 + (2 * titles.Length), await StoredCells.AssertSealedAsync(_database, context, "canary"));
    }

    private ShelfContext New(Action<DbContextOptionsBuilder> more) => new(_database.Options(more: more));

    public class Shelf
    {
        public virtual int Id { get; set; }

        public virtual Guid TenantId { get; set; }

        [Encrypted]
        public virtual string? Name { get; set; }

        public virtual Place Place { get; set; } = new();

        public virtual ObservableCollection<Book> Books { get; set; } = [];
    }

    public class Place
    {
        public virtual string? Hall { get; set; }

        [Encrypted]
        public virtual string? Code { get; set; }
    }

    public class Book
    {
        public virtual int Id { get; set; }

        public virtual Guid TenantId { get; set; }

        public virtual int ShelfId { get; set; }

        public virtual Shelf? Shelf { get; set; }

        [Encrypted]
        public virtual string? Title { get; set; }

        [Encrypted]
        public virtual int Year { get; set; }
    }

    public class ShelfContext(DbContextOptions options) : DbContext(options)
    {
        public DbSet<Shelf> Shelves => Set<Shelf>();

        public DbSet<Book> Books => Set<Book>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Shelf>().HasDataKeyPerTenant(s => s.TenantId).OwnsOne(s => s.Place);
            modelBuilder.Entity<Book>().HasDataKeyPerTenant(b => b.TenantId).HasDataKeyPerRow();
            modelBuilder.UseEnvelopeEncryption();
        }
    }
}

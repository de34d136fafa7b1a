using System.Reflection;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteLinkedRowTests() : LinkedRowTests("SQLite");

public sealed class PostgresLinkedRowTests() : LinkedRowTests("PostgreSQL")
{
    [Fact]
    public async Task A_cell_of_another_tenant_is_refused_in_what_a_function_of_theDatabase_returns()
    {
        await Database.ExecuteAsync("CREATE FUNCTION drafts_of(lowest int) RETURNS SETOF \"Drafts\" LANGUAGE sql AS $$ SELECT * FROM \"Drafts\" WHERE \"Id\" >= lowest $$");
        var lowest = 0;
        Func<DbContext, IQueryable<Draft>>[] shapes =
        [
            c => c.FromExpression(() => DraftsOf(lowest)),
            c => c.FromExpression(() => DraftsOf(0)).OrderBy(d => d.Id).Take(5).Where(d => d.Tenant < 9),
            c => c.Set<Draft>().SelectMany(d => DraftsOf(d.Id)),
        ];
        foreach (var query in shapes)
        {
            await using var context = New();
            Assert.NotEmpty(await query(context).AsNoTracking().ToListAsync());
        }

        await Database.ExecuteAsync("UPDATE \"Drafts\" SET \"Text\" = (SELECT o.\"Text\" FROM \"Drafts\" o WHERE o.\"Id\" = 2) WHERE \"Id\" = 1");
        foreach (var query in shapes)
        {
            await using var context = New();
            await Assert.ThrowsAsync<EnvelopeRefusedException>(() => query(context).AsNoTracking().ToListAsync());
        }
    }

    [Fact]
    public async Task A_cell_of_another_tenant_is_refused_in_what_those_own_whom_a_function_of_the_database_returns()
    {
        await Database.ExecuteAsync("CREATE FUNCTION people_of(lowest int) RETURNS SETOF \"People\" LANGUAGE sql AS $$ SELECT * FROM \"People\" WHERE \"Id\" >= lowest $$");
        foreach (var (name, query) in OfFunctions)
        {
            await using var context = New();
            Assert.True(await query(context) > 0, name);
        }

        await Database.ExecuteAsync("CREATE TABLE \"Saved\" AS SELECT \"Id\" AS \"K\", \"Serial\" AS \"C\" FROM \"Gadgets\"");
        await Database.ExecuteAsync("UPDATE \"Gadgets\" SET \"Serial\" = (SELECT s.\"C\" FROM \"Saved\" s WHERE s.\"K\" <> \"Gadgets\".\"Id\")");
        foreach (var (name, query) in OfFunctions)
        {
            await using var context = New();
            var error = await Record.ExceptionAsync(() => query(context));
            Assert.True(error is EnvelopeRefusedException, $"{name}: {error?.ToString() ?? "was returned"}");
        }
    }
}

/// <summary>
/// Rows whose tenant stands in another table - their owner's, or their hierarchy's root's: a cell of another tenant is refused in every shape of query that returns them (G4), and nobody else's tenant is taken for theirs.
/// </summary>
public abstract partial class LinkedRowTests(string provider) : IAsyncLifetime
{
    private static readonly (string Table, string Column, string Key)[] Cells =
    [
        ("Gadgets", "Serial", "Id"), ("Gadgets", "Box_Label", "Id"), ("Screws", "Text", "Id"), ("Homes", "Street", "PersonId"), ("Rings", "Text", "Id"), ("Vips", "Secret", "Id"), ("Guests", "Text", "Id"),
        ("Folders", "Cover", "Id"), ("Folders", "Back", "Id"), ("Folders", "Pages", "Id"), ("Folders", "Sheets", "Id"),
    ];

    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Person>(person =>
        {
            person.ToTable("People").HasDataKeyPerTenant(p => p.Tenant);
            person.OwnsMany(p => p.Gadgets, gadget =>
            {
                gadget.ToTable("Gadgets").HasKey(g => g.Id);
                gadget.OwnsMany(g => g.Screws, screw => screw.ToTable("Screws").HasKey(s => s.Id));
                gadget.OwnsOne(g => g.Box);
            });
            person.OwnsOne(p => p.Home, home => home.ToTable("Homes"));
            person.OwnsOne(p => p.Work, work => work.ToTable("Works"));
        });
        model.Entity<Creature>(creature =>
        {
            creature.UseTpcMappingStrategy().HasDataKeyPerTenant(c => c.Tenant);
            creature.OwnsMany(c => c.Rings, ring => ring.ToTable("Rings").HasKey(r => r.Id));
        });
        model.Entity<Whale>().ToTable("Whales");
        model.Entity<Otter>().ToTable("Otters");
        model.Entity<Party>(party =>
        {
            party.UseTptMappingStrategy().ToTable("Parties").HasDataKeyPerTenant(p => p.Tenant);
            party.Property(p => p.Id).ValueGeneratedNever();
        });
        model.Entity<Vip>(vip =>
        {
            vip.ToTable("Vips");
            vip.Property(v => v.Bound).IsEncrypted(e => e.IsRowBound());
            vip.OwnsMany(v => v.Guests, guest => guest.ToTable("Guests").HasKey(g => g.Id));
        });
        model.Entity<Folder>(folder =>
        {
            folder.ToTable("Folders").HasDataKeyPerTenant(f => f.Tenant);
            folder.OwnsOne(f => f.Cover, cover => cover.ToJson());
            folder.ComplexProperty(f => f.Back, back => back.ToJson());
            folder.OwnsMany(f => f.Pages, pages => pages.ToJson());
            folder.ComplexCollection(f => f.Sheets, sheets => sheets.ToJson());
        });
        model.Entity<Draft>().ToTable("Drafts").HasDataKeyPerTenant(d => d.Tenant);
        model.HasDbFunction(typeof(LinkedRowTests).GetMethod(nameof(DraftsOf))!).HasName("drafts_of");
        model.HasDbFunction(typeof(LinkedRowTests).GetMethod(nameof(PeopleOf), BindingFlags.NonPublic | BindingFlags.Static)!).HasName("people_of");
        model.UseEnvelopeEncryption();
    };

    protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        foreach (var n in new[] { 1, 2 })
        {
            context.Add(new Person
            {
                Tenant = n,
                Rank = 4 + n,
                Gadgets = [new Gadget { Kind = 1, Serial = $"serial {n}", Box = new Box { Label = $"label {n}" }, Screws = [new Mark { Text = $"screw {n}" }] }],
                Home = new Place { Street = $"street {n}", Number = 1 },
                Work = new Place { Street = $"work {n}", Number = 1 },
            });
            context.Add(new Whale { Tenant = n, Rings = [new Mark { Text = $"ring {n}" }] });
            context.Add(new Vip { Id = n, Tenant = n, OtherId = 3 - n, Secret = $"secret {n}", Bound = n, Guests = [new Mark { Text = $"guest {n}" }] });
            context.Add(new Folder { Tenant = n, Cover = NewSheet($"cover {n}"), Back = NewSheet($"back {n}"), Pages = [NewSheet($"page {n}")], Sheets = [NewSheet($"sheet {n}")] });
            context.Add(new Draft { Tenant = n, Text = $"draft {n}" });
        }

        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await Database.DisposeAsync();

    [Fact]
    public async Task A_cell_of_another_tenant_is_refused_in_every_shape_of_query()
    {
        var passed = new List<string>();
        foreach (var (table, column, key) in Cells)
        {
            var shapes = Shapes(table, column);
            foreach (var (name, query) in shapes)
            {
                await using var context = New();
                Assert.True(await query(context) > 0, name);
            }

            await Database.ExecuteAsync($"CREATE TABLE \"Saved\" AS SELECT \"{key}\" AS \"K\", \"{column}\" AS \"C\" FROM \"{table}\"");
            await Database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = (SELECT s.\"C\" FROM \"Saved\" s WHERE s.\"K\" <> \"{table}\".\"{key}\")");
            foreach (var (name, query) in shapes)
            {
                await using var context = New();
                if (await Record.ExceptionAsync(() => query(context)) is not EnvelopeRefusedException)
                {
                    passed.Add($"{table}.{column}: {name}");
                }
            }

            await Database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = (SELECT s.\"C\" FROM \"Saved\" s WHERE s.\"K\" = \"{table}\".\"{key}\")");
            await Database.ExecuteAsync("DROP TABLE \"Saved\"");
        }

        Assert.Empty(passed);
    }

    [Fact]
    public async Task The_tenant_of_another_row_of_the_result_is_not_the_cells()
    {
        await using var context = New();
        var (vips, parties) = (context.Set<Vip>(), context.Set<Party>());
        var people = context.Set<Person>().AsNoTracking();
        Assert.Equal(["secret 1", "secret 2"], await vips.Join(parties, v => v.OtherId, p => p.Id, (v, p) => new { v.Secret, p.Tenant }).OrderByDescending(x => x.Tenant).Select(x => x.Secret).ToListAsync());
        Assert.Equal(2, (await vips.Join(parties, v => v.OtherId, p => p.Id, (v, p) => new { v.Secret, p.Tenant }).ToListAsync()).Count);
        Assert.Equal(2, (await vips.Select(v => new { v.Secret, Tenant = parties.Where(p => p.Id == v.OtherId).Select(p => p.Tenant).Single() }).ToListAsync()).Count);
        Assert.Equal(2, (await people.Join(people, p => p.Rank, o => 11 - o.Rank, (p, o) => new { p.Home!.Street, o.Tenant }).ToListAsync()).Count);
        Assert.Equal(2, (await vips.Join(vips, v => v.OtherId, o => o.Id, (v, o) => new { One = v, Other = o }).ToListAsync()).Count(x => x.One.Secret != x.Other.Secret));
        Assert.Equal(2, (await vips.Join(vips, v => v.OtherId, o => o.Id, (v, o) => new { v.Id, v.Bound, OtherId = o.Id, Other = o.Bound }).ToListAsync()).Count(x => x.Bound != x.Other));
    }

    private Dictionary<string, Func<DbContext, Task<int>>> Shapes(string table, string column)
    {
        var shapes = new Dictionary<string, Func<DbContext, Task<int>>>(StringComparer.Ordinal);
        void Add<T>(string name, Func<DbContext, IQueryable<T>> query) => shapes.Add(name, async context => (await query(context).ToListAsync()).Count);
        switch (table)
        {
            case "Gadgets":
                Add("flattened", c => Gadgets(c));
                Add("paged and filtered", c => Gadgets(c).OrderBy(g => g.Id).Take(10).Where(g => g.Kind == 1));
                Add("paged twice", c => Gadgets(c).OrderBy(g => g.Id).Take(10).OrderBy(g => g.Kind).Take(9).Where(g => g.Kind == 1));
                Add("projected, paged and filtered", c => Gadgets(c).Select(g => new { g }).Take(5).Where(x => x.g.Kind == 1));
                Add("with a count", c => Gadgets(c).Select(g => new { g, Screws = g.Screws.Count }).OrderBy(x => x.Screws).Take(5));
                Add("first of each group", c => Gadgets(c).GroupBy(g => g.Kind).Select(g => g.OrderBy(x => x.Id).First()));
                Add("joined with distinct kinds", c => Gadgets(c).Select(g => g.Kind).Distinct().Join(Gadgets(c), k => k, g => g.Kind, (k, g) => g));
                Add("left joined", c => People(c).LeftJoin(Gadgets(c), p => p.Id, g => g.Id, (p, g) => new { g }).Where(x => x.g != null));
                Add("with existing screws", c => Gadgets(c).Where(g => g.Screws.Any()));
                Add("first of each person", c => People(c).Select(p => p.Gadgets.OrderByDescending(g => g.Kind).ThenBy(g => g.Id).First()));
                Add("of people by raw SQL", c => c.Set<Person>().FromSqlRaw("SELECT * FROM \"People\"").AsNoTracking().SelectMany(p => p.Gadgets));
                Add("included", c => People(c));
                Add("split", c => People(c).AsSplitQuery());
                Add("of distinct people", c => People(c).Distinct().SelectMany(p => p.Gadgets));
                Add("of a page and others", c => People(c).OrderBy(p => p.Id).Take(3).Concat(People(c).Where(p => p.Id > 3)).SelectMany(p => p.Gadgets).Select(g => new { g.Serial, g.Box!.Label }));
                Add("of joined people and others", c => c.Set<Draft>().Join(People(c), d => d.Id, p => p.Id, (d, p) => p).Concat(People(c)).SelectMany(p => p.Gadgets).Select(g => new { g.Serial, g.Box!.Label }));
                Add("of a union and others", c => People(c).Where(p => p.Id < 2).Union(People(c).Where(p => p.Id > 1)).Concat(People(c)).SelectMany(p => p.Gadgets).Select(g => new { g.Serial, g.Box!.Label }));
                Add("lists of distinct people, split", c => People(c).Distinct().AsSplitQuery().Select(p => new { p.Id, List = p.Gadgets.ToList() }));
                Add("of distinct joined people", c => c.Set<Draft>().Join(People(c), d => d.Id, p => p.Id, (d, p) => p).Distinct().SelectMany(p => p.Gadgets));
                Add("of people by UNION", c => People(c).Where(p => p.Rank == 5).Union(People(c).Where(p => p.Rank == 6)).SelectMany(p => p.Gadgets));
                Add("of people by UNION, paged and filtered", c => People(c).Where(p => p.Rank == 5).Union(People(c).Where(p => p.Rank == 6)).SelectMany(p => p.Gadgets).OrderBy(g => g.Id).Take(5).Where(g => g.Kind == 1));
                Add("of people by EXCEPT", c => People(c).Except(People(c).Where(p => p.Rank > 9)).SelectMany(p => p.Gadgets));
                if (provider == "PostgreSQL")
                {
                    // SQLite has no lateral joins.
                    Add("lateral", c => People(c).SelectMany(p => p.Gadgets.Where(g => g.Kind < p.Rank).Take(3)));
                    Add("lateral list", c => People(c).OrderBy(p => p.Id).Select(p => new { p.Id, List = p.Gadgets.Where(g => g.Kind < p.Rank).OrderBy(g => g.Id).Skip(0).Take(3).ToList() }));
                    Add("lateral with a computed value", c => People(c).SelectMany(p => p.Gadgets.Select(g => new { g, Sum = g.Kind + p.Rank })));
                }

                break;
            case "Screws":
                Add("flattened", c => Gadgets(c).SelectMany(g => g.Screws));
                Add("paged and filtered", c => Gadgets(c).SelectMany(g => g.Screws).OrderBy(s => s.Id).Take(10).Where(s => s.Id > 0));
                Add("split lists", c => People(c).AsSplitQuery().Select(p => new { p.Id, List = p.Gadgets.SelectMany(g => g.Screws).ToList() }));
                Add("concatenated", c => Gadgets(c).Where(g => g.Kind == 1).SelectMany(g => g.Screws).Concat(Gadgets(c).Where(g => g.Kind == 2).SelectMany(g => g.Screws)));
                Add("concatenated, paged and filtered", c => Gadgets(c).Where(g => g.Kind == 2).SelectMany(g => g.Screws).Concat(Gadgets(c).Where(g => g.Kind == 1).SelectMany(g => g.Screws)).OrderBy(s => s.Id).Take(10).Where(s => s.Id > 0));
                if (provider == "PostgreSQL")
                {
                    Add("lateral", c => People(c).SelectMany(p => p.Gadgets.Where(g => g.Kind < p.Rank).SelectMany(g => g.Screws).Take(3)));
                }

                break;
            case "Homes":
                Add("projected", c => People(c).Select(p => p.Home));
                Add("paged and filtered", c => People(c).Select(p => p.Home!).Where(h => h.Number == 1).Take(5).Where(h => h.Number == 1));
                Add("concatenated", c => People(c).Where(p => p.Rank == 5).Select(p => p.Home!).Concat(People(c).Where(p => p.Rank == 6).Select(p => p.Home!)));
                Add("with the other place", c => People(c).Select(p => new { p.Home, p.Work }));
                break;
            case "Rings":
                Add("included", c => c.Set<Creature>().AsNoTracking());
                Add("flattened", c => c.Set<Creature>().AsNoTracking().SelectMany(w => w.Rings));
                Add("of whales", c => c.Set<Whale>().AsNoTracking().SelectMany(w => w.Rings));
                Add("split", c => c.Set<Creature>().AsNoTracking().OrderBy(w => w.Id).Take(10).AsSplitQuery());
                Add("of distinct whales, split", c => c.Set<Whale>().Distinct().AsSplitQuery());
                Add("of distinct creatures, split", c => c.Set<Creature>().Distinct().AsSplitQuery());
                Add("of a page of distinct whales, split", c => Whales(c).Distinct().OrderBy(w => w.Tenant).Take(5).OrderBy(w => w.Id).Take(4).AsSplitQuery());
                Add("by UNION, split", c => Whales(c).Where(w => w.Tenant == 1).Union(Whales(c).Where(w => w.Tenant == 2)).AsSplitQuery());
                Add("by INTERSECT, split", c => Whales(c).Intersect(Whales(c).Where(w => w.Tenant < 9)).OrderBy(w => w.Id).Take(9).AsSplitQuery());
                break;
            case "Vips":
                Add("entities", c => c.Set<Vip>());
                Add("of the hierarchy", c => c.Set<Party>());
                Add("joined with itself", c => c.Set<Vip>().Join(c.Set<Vip>(), v => v.OtherId, o => o.Id, (v, o) => new { v, o }));
                Add("pages joined", c => c.Set<Vip>().OrderBy(v => v.Id).Take(5).Join(c.Set<Vip>().OrderBy(v => v.Id).Take(5), v => v.OtherId, o => o.Id, (v, o) => new { v, o }));
                Add("beside another row", c => c.Set<Vip>().Join(c.Set<Party>(), v => v.OtherId, o => o.Id, (v, o) => new { v, o.Tenant }));
                break;
            case "Folders":
                AddDocuments(column);
                break;
            default:
                Add("included", c => c.Set<Vip>().AsNoTracking());
                Add("flattened", c => c.Set<Vip>().AsNoTracking().SelectMany(v => v.Guests));
                Add("flattened from the root", c => c.Set<Party>().OfType<Vip>().AsNoTracking().SelectMany(v => v.Guests).OrderBy(g => g.Id).Take(10).Where(g => g.Id > 0));
                Add("split", c => c.Set<Vip>().AsNoTracking().OrderBy(v => v.Tenant).Take(10).AsSplitQuery());
                break;
        }

        return shapes;

        void AddDocuments(string column)
        {
            static IQueryable<Folder> Folders(DbContext context) => context.Set<Folder>().AsNoTracking();
            switch (column)
            {
                case "Cover":
                    Add("whole", c => Folders(c).Select(f => new { f.Tenant, f.Cover }));
                    Add("member", c => Folders(c).Select(f => new { f.Tenant, f.Cover!.Secret }));
                    Add("member of a page", c => Folders(c).OrderBy(f => f.Id).Take(3).Select(f => new { f.Tenant, f.Cover!.Secret, f.Cover.Kind }).Where(x => x.Kind == "k"));
                    break;
                case "Back":
                    Add("whole", c => Folders(c).Select(f => new { f.Tenant, f.Back }));
                    Add("member", c => Folders(c).Select(f => new { f.Tenant, f.Back.Secret }));
                    Add("member of a page", c => Folders(c).OrderBy(f => f.Id).Take(3).Select(f => new { f.Tenant, f.Back.Secret, f.Back.Kind }).Where(x => x.Kind == "k"));
                    break;
                case "Pages":
                    Add("first", c => Folders(c).Select(f => new { f.Tenant, f.Pages[0].Secret }));
                    Add("first of a page", c => Folders(c).OrderBy(f => f.Id).Take(3).Select(f => new { f.Id, f.Tenant, First = f.Pages[0] }).Where(x => x.Id > 0));
                    if (provider == "PostgreSQL")
                    {
                        Add("flattened", c => Folders(c).SelectMany(f => f.Pages, (f, p) => new { f.Tenant, p }));
                        Add("flattened member", c => Folders(c).SelectMany(f => f.Pages, (f, p) => new { f.Tenant, p.Secret, p.Kind }).Where(x => x.Kind == "k"));
                        Add("filtered", c => Folders(c).Select(f => new { f.Id, f.Tenant, List = f.Pages.Where(p => p.Kind == "k").ToList() }));
                        Add("filtered members", c => Folders(c).OrderBy(f => f.Id).Take(3).Select(f => new { f.Id, f.Tenant, List = f.Pages.Where(p => p.Kind == "k").Select(p => p.Secret).ToList() }));
                    }

                    break;
                default:
                    Add("whole", c => Folders(c).Select(f => new { f.Tenant, f.Sheets }));
                    Add("first", c => Folders(c).Select(f => new { f.Tenant, f.Sheets[0].Secret }));
                    Add("first of a page", c => Folders(c).OrderBy(f => f.Id).Take(3).Select(f => new { f.Id, f.Tenant, First = f.Sheets[0] }).Where(x => x.Id > 0));
                    if (provider == "PostgreSQL")
                    {
                        Add("flattened", c => Folders(c).SelectMany(f => f.Sheets, (f, s) => new { f.Tenant, s }));
                        Add("flattened member", c => Folders(c).SelectMany(f => f.Sheets, (f, s) => new { f.Tenant, s.Secret }));
                    }

                    break;
            }
        }
    }

    public static IQueryable<Draft> DraftsOf(int lowest) => throw new NotSupportedException($"Translated only ({lowest}).");

    private static IQueryable<Person> PeopleOf(int lowest) => throw new NotSupportedException($"Translated only ({lowest}).");

    protected static (string Name, Func<DbContext, Task<int>> Query)[] OfFunctions { get; } =
    [
        ("included", async c => (await c.FromExpression(() => PeopleOf(0)).AsNoTracking().ToListAsync()).Count),
        ("split", async c => (await c.FromExpression(() => PeopleOf(0)).AsNoTracking().AsSplitQuery().ToListAsync()).Count),
        ("flattened", async c => (await c.FromExpression(() => PeopleOf(0)).AsNoTracking().SelectMany(p => p.Gadgets).ToListAsync()).Count),
        ("paged", async c => (await c.FromExpression(() => PeopleOf(0)).AsNoTracking().SelectMany(p => p.Gadgets).OrderBy(g => g.Id).Take(5).Where(g => g.Kind == 1).ToListAsync()).Count),
    ];

    private static Sheet NewSheet(string secret) => new() { Kind = "k", Secret = secret };

    [Fact]
    public async Task The_row_itself_joined_once_more_where_only_some_rows_find_themselves()
    {
        await using var context = New();
        var people = People(context);
        var pages = people.OrderBy(p => p.Id).Take(5).LeftJoin(people, p => new { p.Id, Rank = 5 }, o => new { o.Id, o.Rank }, (p, o) => new { p, Tenant = (int?)o!.Tenant });
        Assert.Equal([1, null], (await pages.ToListAsync()).OrderBy(x => x.p.Tenant).Select(x => x.Tenant));
        Assert.Equal(["serial 1", "serial 2"], (await pages.Select(x => new { x.p.Id, First = x.p.Gadgets.OrderBy(g => g.Id).First(), x.Tenant }).ToListAsync()).Select(x => x.First.Serial).Order(StringComparer.Ordinal));
        Assert.Equal(["street 1", "street 2"], (await pages.Select(x => new { x.p.Home, x.Tenant }).ToListAsync()).Select(x => x.Home!.Street).Order(StringComparer.Ordinal));
        Assert.Equal(2, (await people.RightJoin(people, o => new { o.Id, o.Rank }, p => new { p.Id, Rank = 5 }, (o, p) => new { p, Tenant = (int?)o!.Tenant }).ToListAsync()).Count);
    }

    private static IQueryable<Person> People(DbContext context) => context.Set<Person>().AsNoTracking();

    private static IQueryable<Whale> Whales(DbContext context) => context.Set<Whale>().AsNoTracking();

    private static IQueryable<Gadget> Gadgets(DbContext context) => People(context).SelectMany(p => p.Gadgets);

    protected AdHocContext New() => new(Database.Options(more: AdHocContext.Cached), Model);
}

using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>Types without a key of their own: owned, complex, in columns, tables and documents.</summary>
public abstract partial class MappingTests
{
    [Fact]
    public async Task Owned_type_in_the_same_table()
    {
        void Model(ModelBuilder m) => People(m, p => p.OwnsOne(x => x.Home));
        await SavePeopleAsync(Model, 5);
        await ChangeAsync(Model, p => p.Home!.Street = "canary changed");
        var seen = await FirstAsync(Model);
        Assert.Equal(("canary 1", "canary changed", "Bern"), (seen.Name, seen.Home!.Street, seen.Home.City));
        await ChangeAsync(Model, p => p.Home = null);
        Assert.Null((await FirstAsync(Model)).Home);
        Assert.Equal("canary 1", (await FirstAsync(Model)).Name);
        await ChangeAsync(Model, p => p.Home = new Address { Street = "canary again" });
        Assert.Equal("canary again", (await FirstAsync(Model)).Home!.Street);
    }

    [Fact]
    public async Task Owned_type_in_a_table_of_its_own()
    {
        void Model(ModelBuilder m) => People(m, p => p.OwnsOne(x => x.Home, h => h.ToTable("Homes")));
        await SavePeopleAsync(Model, 5);
        Assert.All(await StoredCells.ScopesAsync(_database, "Homes", "Street", "City"), pair => Assert.StartsWith("tenant:", pair.Scope, StringComparison.Ordinal));
        await ChangeAsync(Model, p => p.Home!.Street = "canary changed");
        Assert.Equal("canary changed", (await FirstAsync(Model)).Home!.Street);
        await using var context = New(Model);
        Assert.Equal(2, await context.Set<Person>().CountAsync(p => p.Home!.Street != null));
        Assert.Equal(["canary changed", "canary street 2"], (await context.Set<Person>().OrderBy(p => p.Id).Select(p => p.Home!.Street).ToListAsync()));
    }

    [Fact]
    public async Task Owned_collection()
    {
        void Model(ModelBuilder m) => People(m, p => p.OwnsMany(x => x.Devices, d =>
        {
            d.ToTable("Devices");
            d.HasKey(x => x.Id);
        }));
        await SavePeopleAsync(Model, 5);
        await ChangeAsync(Model, p =>
        {
            p.Devices[0].Serial = "canary changed";
            p.Devices.Add(new Device { Serial = "canary new" });
        });
        Assert.Equal(["canary changed", "canary new", "canary serial 1b"], (await FirstAsync(Model)).Devices.Select(d => d.Serial).Order(StringComparer.Ordinal));
        await using var context = New(Model);
        Assert.Equal(5, await context.Set<Person>().SelectMany(p => p.Devices).CountAsync());
        Assert.Equal(5, (await context.Set<Person>().SelectMany(p => p.Devices).Select(d => d.Serial).ToListAsync()).Count);
    }

    [Fact]
    public async Task Owned_type_inside_an_owned_type()
    {
        void Model(ModelBuilder m) => People(m, p => p.OwnsOne(x => x.Home, h => h.OwnsOne(x => x.Place)));
        await SavePeopleAsync(Model, 6);
        await ChangeAsync(Model, p => p.Home!.Place!.Note = "canary changed");
        Assert.Equal("canary changed", (await FirstAsync(Model)).Home!.Place!.Note);
    }

    [Fact]
    public async Task Owned_type_in_json()
    {
        void Model(ModelBuilder m) => People(m, p => p.OwnsOne(x => x.Home, h =>
        {
            h.ToJson();
            h.OwnsOne(x => x.Place);
        }));
        await SavePeopleAsync(Model, 3);
        await ChangeAsync(Model, p => p.Home!.Street = "canary changed");
        await ChangeAsync(Model, p => p.Home!.City = "Basel");
        await ChangeAsync(Model, p => p.Home!.Place!.Note = "canary place");
        var seen = await FirstAsync(Model);
        Assert.Equal(("canary changed", "Basel", "canary place"), (seen.Home!.Street, seen.Home.City, seen.Home.Place!.Note));
        Assert.Equal((7, new DateOnly(2020, 1, 1)), (seen.Home.Number, seen.Home.Since));
        await using var context = New(Model);
        Assert.Equal("canary changed", await context.Set<Person>().Where(p => p.Home!.City == "Basel").Select(p => p.Home!.Street).SingleAsync());
        Assert.Equal("canary place", await context.Set<Person>().Where(p => p.Home!.City == "Basel").Select(p => p.Home!.Place!.Note).SingleAsync());
    }

    [Fact]
    public async Task Plain_parts_of_a_document_that_change_together()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Dossier>(d =>
            {
                d.HasDataKeyPerTenant(x => x.TenantId);
                d.OwnsOne(x => x.File, file =>
                {
                    file.ToJson();
                    file.OwnsOne(x => x.Front);
                    file.OwnsOne(x => x.Back);
                    file.OwnsOne(x => x.Place);
                    file.OwnsMany(x => x.Tags);
                });
            });
            m.UseEnvelopeEncryption();
        }

        await using (var context = New(Model))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Dossier { TenantId = TenantA, File = new DossierFile { Front = new Tag { Text = "a" }, Back = new Tag { Text = "b" }, Place = new Place { Note = "canary" }, Tags = [new Tag { Text = "t" }] } });
            await context.SaveChangesAsync();
        }

        foreach (var change in new Action<DossierFile>[]
        {
            f => (f.Front.Text, f.Back.Text) = ("a2", "b2"),
            f =>
            {
                f.Front.Text = "a3";
                f.Tags.Clear();
            },
            f =>
            {
                f.Back = new Tag { Text = "b3" };
                f.Tags.Add(new Tag { Text = "u" });
            },
        })
        {
            await using var context = New(Model);
            change((await context.Set<Dossier>().SingleAsync()).File);
            await context.SaveChangesAsync();
        }

        await using (var context = New(Model))
        {
            // The rendered document would hold what the stub says of the encrypted part, under the stub's tenant.
            var stub = new Dossier { Id = 1, TenantId = TenantB, File = new DossierFile { Place = new Place { Note = "evil" } } };
            context.Attach(stub);
            (stub.File.Front.Text, stub.File.Back.Text) = ("x", "y");
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await using var reader = New(Model);
        var file = (await reader.Set<Dossier>().AsNoTracking().SingleAsync()).File;
        Assert.Equal(("a3", "b3", "canary", "u"), (file.Front.Text, file.Back.Text, file.Place.Note, file.Tags.Single().Text));
    }

    [Fact]
    public async Task Owned_collection_in_json()
    {
        void Model(ModelBuilder m) => People(m, p => p.OwnsMany(x => x.Devices, d =>
        {
            d.ToJson();
            d.Ignore(x => x.Id);
        }));
        await SavePeopleAsync(Model, 3);
        await ChangeAsync(Model, p => p.Devices[1].Serial = "canary changed");
        await ChangeAsync(Model, p => p.Devices.Add(new Device { Serial = "canary new" }));
        Assert.Equal(["canary serial 1a", "canary changed", "canary new"], (await FirstAsync(Model)).Devices.Select(d => d.Serial));
    }

    [Fact]
    public async Task Complex_type()
    {
        void Model(ModelBuilder m) => People(m, p => p.ComplexProperty(x => x.Contact));
        await SavePeopleAsync(Model, 6);
        await ChangeAsync(Model, p => p.Contact.Phone = "canary changed");
        await ChangeAsync(Model, p => p.Contact.Kind = "work");
        Assert.Equal(("canary changed", "work"), ((await FirstAsync(Model)).Contact.Phone, (await FirstAsync(Model)).Contact.Kind));
        await using var context = New(Model);
        Assert.Equal("canary changed", (await context.Set<Person>().Where(p => p.Contact.Kind == "work").Select(p => p.Contact).AsNoTracking().SingleAsync()).Phone);
    }

    [Fact]
    public async Task Complex_type_in_json()
    {
        void Model(ModelBuilder m) => People(m, p => p.ComplexProperty(x => x.Contact, c => c.ToJson()));
        await SavePeopleAsync(Model, 3);
        await ChangeAsync(Model, p => p.Contact.Phone = "canary changed");
        await ChangeAsync(Model, p => p.Contact.Kind = "work");
        await ChangeAsync(Model, p => p.Name = "canary renamed");
        var seen = await FirstAsync(Model);
        Assert.Equal(("canary changed", "work", 42), (seen.Contact.Phone, seen.Contact.Kind, seen.Contact.Pin));
        await using var context = New(Model);
        Assert.Equal("canary changed", await context.Set<Person>().Where(p => p.Contact.Kind == "work").Select(p => p.Contact.Phone).SingleAsync());
    }

    [Fact]
    public async Task Complex_collection_in_json()
    {
        void Model(ModelBuilder m) => People(m, p => p.ComplexCollection(x => x.Contacts, c => c.ToJson()));
        await SavePeopleAsync(Model, 3);
        await ChangeAsync(Model, p => p.Contacts[0].Phone = "canary changed");
        await ChangeAsync(Model, p => p.Contacts.Add(new Contact { Kind = "new", Phone = "canary new" }));
        Assert.Equal(["canary changed", "canary new"], (await FirstAsync(Model)).Contacts.Select(c => c.Phone));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Optional_complex_type_in_a_complex_type(bool json)
    {
        Action<ModelBuilder> model = json
            ? m => People(m, p => p.ComplexProperty(x => x.Contact, c => c.ToJson()))
            : m => People(m, p => p.ComplexProperty(x => x.Contact));
        await SavePeopleAsync(model, json ? 3 : 6);
        await ChangeAsync(model, p => p.Contact.Detail!.Text = "canary changed");
        Assert.Equal("canary changed", (await FirstAsync(model)).Contact.Detail!.Text);
        await ChangeAsync(model, p => p.Contact.Detail = null);
        Assert.Null((await FirstAsync(model)).Contact.Detail);
        await ChangeAsync(model, p => p.Contact.Detail = new Detail { Text = "canary again" });
        Assert.Equal("canary again", (await FirstAsync(model)).Contact.Detail!.Text);
    }
}

using EfEnvelope.Tests.Querying;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteBulkUpdateFormTests() : BulkUpdateFormTests("SQLite");

public sealed class PostgresBulkUpdateFormTests() : BulkUpdateFormTests("PostgreSQL");

/// <summary>The forms in which <c>ExecuteUpdate</c> names a property and a value: each is sealed under the key of the tenant that the filter names.</summary>
public abstract class BulkUpdateFormTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(new Person { TenantId = Tenant, City = "Bern", Ssn = "canary", Home = new Home { City = "Bern", Street = "canary" } });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_property_by_name_and_members_of_owned_and_complex_types()
    {
        var street = "canary street";
        await using (var context = New())
        {
            Assert.Equal(1, await context.People.Where(p => p.TenantId == Tenant).ExecuteUpdateAsync(s => s
                .SetProperty(p => EF.Property<string>(p, "Ssn"), "canary named")
                .SetProperty(p => p.Reach.Phone, "canary phone")
                .SetProperty(p => p.Home!.Street, street)
                .SetProperty(p => p.Score, 7)
                .SetProperty(p => p.Grade, Grade.High)
                .SetProperty(p => p.Note, "canary note")));
        }

        await using var reader = New();
        var person = await reader.People.AsNoTracking().SingleAsync();
        Assert.Equal(("canary named", "canary phone", "canary street", 7, Grade.High, "canary note"), (person.Ssn, person.Reach.Phone, person.Home!.Street, person.Score, person.Grade, person.Note));
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_complex_type_as_a_whole(bool captured)
    {
        var reach = new Reach { Kind = "work", Phone = "canary work" };
        await using (var context = New())
        {
            var people = context.People.Where(p => p.TenantId == Tenant);
            Assert.Equal(1, captured
                ? await people.ExecuteUpdateAsync(s => s.SetProperty(p => p.Reach, reach))
                : await people.ExecuteUpdateAsync(s => s.SetProperty(p => p.Reach, new Reach { Kind = "work", Phone = "canary work" })));
        }

        await using var reader = New();
        var person = await reader.People.AsNoTracking().SingleAsync();
        Assert.Equal(("work", "canary work"), (person.Reach.Kind, person.Reach.Phone));
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    [Fact]
    public async Task A_complex_type_without_the_tenant_is_refused_and_nothing_is_written()
    {
        await using var context = New();
        var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Reach, new Reach { Kind = "work", Phone = "canary work" })));
        Assert.Equal("Phone", error.Property);
        Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        Assert.Null((await context.People.AsNoTracking().SingleAsync()).Reach.Phone);
    }

    private VaultContext New() => new(_database.Options());
}

using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Writing;

/// <summary>A row that others delete and make anew while a save, which was given it without its row id, fetches its key.</summary>
public sealed class RemadeRowTests() : OwnerTests("SQLite")
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_update_of_a_row_that_was_made_anew_meanwhile_is_refused_as_a_conflict(bool replaced)
    {
        var service = new ScriptedKeyService(Database.KeyService);
        Database.KeyService = service;
        var chip = (await SaveAsync(TenantA, "a", chips: 1)).Chips[0];
        Chip Stub(string serial) => new() { Id = chip.Id, OwnerId = chip.OwnerId, TenantId = TenantA, Label = chip.Label, Serial = serial };
        await ColdAsync();
        await using (var context = New())
        {
            service.Gate = async () =>
            {
                service.Gate = null;
                await using var other = new OwnerContext(Database.Options(e => e.With(o => o with { MaxCachedKeys = 1001 })));
                other.Remove(Stub("?"));
                await other.SaveChangesAsync();
                other.Add(Stub("canary anew"));
                await other.SaveChangesAsync();
            };
            if (replaced)
            {
                context.Remove(Stub("?"));
                context.Add(Stub("canary late"));
            }
            else
            {
                context.Update(Stub("canary late"));
            }

            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
            Assert.Null(service.Gate);

            // Asked again, it is the new row's.
            await context.SaveChangesAsync();
            Assert.DoesNotContain(context.ChangeTracker.Entries(), e => e.State != EntityState.Unchanged);
        }

        await ColdAsync();
        await using var reader = New();
        Assert.Equal("canary late", (await reader.Chips.AsNoTracking().SingleAsync()).Serial);
    }
}

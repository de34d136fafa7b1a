using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteSaveFormTests() : SaveFormTests("SQLite");

public sealed class PostgresSaveFormTests() : SaveFormTests("PostgreSQL");

/// <summary>Every way to write (G29): what a save leaves in the columns, and what a failed one leaves behind.</summary>
public abstract class SaveFormTests(string provider) : OwnerTests(provider)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_SavingChanges_interceptor_that_adds_rows_and_changes_values(bool sync)
    {
        await using (var context = New(o => o.AddInterceptors(new Stamp())))
        {
            context.Add(NewOwner(TenantA, "a", chips: 1));
            context.Add(NewOwner(TenantB, "b", chips: 0));
            Assert.Equal(5, sync ? context.SaveChanges() : await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary a (seen)", ["canary a/0", "canary stamp"]), ("b", "canary b (seen)", ["canary stamp"]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_that_does_not_accept_its_changes_and_is_repeated_after_a_rollback(bool sync)
    {
        // Children of a row that is there: EF gives those of a new row the temporary key once more, on any provider that sends one statement at a time.
        await SaveAsync(TenantA, "a", chips: 0);
        await using (var context = New())
        {
            var owner = await context.Owners.SingleAsync();
            owner.Name = "canary renamed";
            owner.Chips.AddRange(NewOwner(TenantA, "a").Chips);
            context.Add(NewOwner(TenantB, "b", chips: 0));
            await using (await context.Database.BeginTransactionAsync())
            {
                Assert.Equal(4, sync ? context.SaveChanges(acceptAllChangesOnSuccess: false) : await context.SaveChangesAsync(acceptAllChangesOnSuccess: false));
                Assert.Equal((EntityState.Modified, EntityState.Added), (context.Entry(owner).State, context.Entry(owner.Chips[0]).State));
            }

            // The transaction was rolled back: the same entries once more, with the same row ids and new keys.
            await using (var transaction = await context.Database.BeginTransactionAsync())
            {
                Assert.Equal(4, sync ? context.SaveChanges(acceptAllChangesOnSuccess: false) : await context.SaveChangesAsync(acceptAllChangesOnSuccess: false));
                await transaction.CommitAsync();
            }

            context.ChangeTracker.AcceptAllChanges();
            Assert.Equal(0, await context.SaveChangesAsync());
            owner.Chips[0].Serial = "canary changed";
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary renamed", ["canary changed", "canary a/1"]), ("b", "canary b", []));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Ten_thousand_rows_in_one_save(bool rowKeys)
    {
        const int rows = 10_000;
        await using (var context = New())
        {
            if (rowKeys)
            {
                var owner = NewOwner(TenantA, "a", chips: 0);
                owner.Chips.AddRange(Enumerable.Range(0, rows).Select(n => new Chip { TenantId = n % 2 == 0 ? TenantA : TenantB, Label = $"{n}", Serial = $"canary {n}", Pin = n }));
                context.Add(owner);
                Assert.Equal(rows + 1, await context.SaveChangesAsync());
            }
            else
            {
                context.AddRange(Enumerable.Range(0, rows).Select(n => NewOwner(n % 2 == 0 ? TenantA : TenantB, $"{n}", chips: 0)));
                Assert.Equal(rows, await context.SaveChangesAsync());
            }
        }

        await ColdAsync();
        await using var reader = New();
        var cells = await StoredCells.ScopesAsync(Database, rowKeys ? "Chips" : "Owners", rowKeys ? "Serial" : "Name", "TenantId");
        Assert.Equal(rows, cells.Count);
        Assert.Equal(rowKeys ? rows : 2, cells.Select(c => c.Scope).Distinct(StringComparer.Ordinal).Count());
        Assert.Equal(rowKeys ? rows : 0, await RowKeysAsync());
        var values = rowKeys
            ? await reader.Chips.AsNoTracking().Select(c => new { Key = c.Label, Value = c.Serial }).ToListAsync()
            : await reader.Owners.AsNoTracking().Select(o => new { Key = o.Code, Value = o.Name }).ToListAsync();
        Assert.Equal(rows, values.Count);
        Assert.All(values, v => Assert.Equal($"canary {v.Key}", v.Value));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_after_one_that_failed_on_another_column(bool sync)
    {
        await SaveAsync(TenantA, "a");
        await using (var context = New())
        {
            var owner = NewOwner(TenantB, "a");
            context.Add(owner);
            var error = await Record.ExceptionAsync(async () => _ = sync ? context.SaveChanges() : await context.SaveChangesAsync());
            Assert.IsType<DbUpdateException>(error);
            Assert.Equal(2, await RowKeysAsync());
            owner.Code = "b";
            owner.Name = "canary mended";
            Assert.Equal(3, sync ? context.SaveChanges() : await context.SaveChangesAsync());
            owner.Chips[1].Serial = "canary later";
            Assert.Equal(1, sync ? context.SaveChanges() : await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary a", ["canary a/0", "canary a/1"]), ("b", "canary mended", ["canary a/0", "canary later"]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_concurrency_conflict_then_reload_or_retry(bool reload)
    {
        var saved = await SaveAsync(TenantA, "a");
        await using (var context = New())
        {
            var owner = await context.Owners.SingleAsync();
            await using (var other = New())
            {
                var theirs = await other.Owners.SingleAsync();
                (theirs.Name, theirs.Note, theirs.Version) = ("canary theirs", "canary note", 1);
                Assert.Equal(1, await other.SaveChangesAsync());
            }

            (owner.Name, owner.Version) = ("canary mine", 1);
            var conflict = await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
            var entry = Assert.Single(conflict.Entries);
            Assert.Same(owner, entry.Entity);
            if (reload)
            {
                await entry.ReloadAsync();
                Assert.Equal(("canary theirs", "canary note", 1), (owner.Name, owner.Note, owner.Version));
                (owner.Name, owner.Version) = ("canary mine", 2);
            }
            else
            {
                var values = (await entry.GetDatabaseValuesAsync())!;
                Assert.Equal("canary theirs", values.GetValue<string>("Name"));
                entry.OriginalValues.SetValues(values);
                owner.Version = 2;
            }

            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary mine", ["canary a/0", "canary a/1"]));
        await using var reader = New();
        Assert.Equal((reload ? "canary note" : null, 2), await reader.Owners.Where(o => o.Id == saved.Id).Select(o => new ValueTuple<string?, int>(o.Note, o.Version)).SingleAsync());
    }

    [Fact]
    public async Task A_tracked_rows_tenant_or_subject_cannot_be_changed_and_nothing_is_written()
    {
        var one = await SaveAsync(TenantA, "a");
        var two = await SaveAsync(TenantB, "b");
        await using (var context = New())
        {
            context.Add(new Deed { OwnerId = one.Id, Text = "canary deed" });
            await context.SaveChangesAsync();
        }

        await AssertRefusedAsync("TenantId", async c => (await c.Owners.SingleAsync(o => o.Id == one.Id)).TenantId = TenantB);
        await AssertRefusedAsync("TenantId", async c =>
        {
            var owner = await c.Owners.SingleAsync(o => o.Id == one.Id);
            (owner.TenantId, owner.Name) = (TenantB, "canary moved");
        });
        await AssertRefusedAsync("TenantId", async c => (await c.Chips.FirstAsync(x => x.OwnerId == one.Id)).TenantId = TenantB);
        await AssertRefusedAsync("OwnerId", async c => (await c.Deeds.SingleAsync()).OwnerId = two.Id);
        await AssertRefusedAsync("OwnerId", async c => (await c.Deeds.SingleAsync()).Owner = await c.Owners.SingleAsync(o => o.Id == two.Id));
        await AssertStoredAsync(("a", "canary a", ["canary a/0", "canary a/1"]), ("b", "canary b", ["canary b/0", "canary b/1"]));
        await using var reader = New();
        Assert.Equal("canary deed", (await reader.Deeds.SingleAsync()).Text);

        async Task AssertRefusedAsync(string property, Func<OwnerContext, Task> change)
        {
            await using var context = New();
            await change(context);
            var error = await Assert.ThrowsAsync<InvalidOperationException>(() => context.SaveChangesAsync());
            Assert.Contains(property, error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Sealed under the temporary value of a foreign key, a row would never open again.</summary>
    [Fact]
    public async Task A_row_whose_subject_or_key_the_store_has_yet_to_make_is_refused_and_the_way_out_works()
    {
        foreach (var row in new object[] { new Deed { Text = "canary", Owner = NewOwner(TenantA, "new") }, new Share { Part = 1m, Number = 1, Owner = NewOwner(TenantA, "new") } })
        {
            await using var context = New();
            context.Add(row);
            var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
            Assert.Equal((row.GetType().Name, "OwnerId"), (error.Entity, error.Property));
            Assert.Contains("Save that row first", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal((0, 0, 0), (await StoredCells.CountAsync(Database, "Owners"), await StoredCells.CountAsync(Database, "Deeds"), await StoredCells.CountAsync(Database, "Shares")));
        await using (var context = New())
        {
            await using var transaction = await context.Database.BeginTransactionAsync();
            var owner = NewOwner(TenantA, "a", chips: 0);
            context.Add(owner);
            await context.SaveChangesAsync();
            context.AddRange(new Deed { Text = "canary deed", Owner = owner }, new Share { Part = 0.5m, Number = 1, Owner = owner });
            Assert.Equal(2, await context.SaveChangesAsync());
            await transaction.CommitAsync();
        }

        await ColdAsync();
        await using var reader = New();
        Assert.Equal(("canary deed", 0.5m), ((await reader.Deeds.SingleAsync()).Text, (await reader.Shares.SingleAsync()).Part));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_stub_that_is_attached_and_changed_in_part(bool sync)
    {
        var saved = await SaveAsync(TenantA, "a");
        await using (var context = New())
        {
            await context.Owners.ExecuteUpdateAsync(s => s.SetProperty(o => o.Version, 3));
            var owner = new Owner { Id = saved.Id, TenantId = TenantA, Code = "?", Name = "?", Version = 3 };
            context.Attach(owner);
            owner.Note = "canary note";
            var chip = new Chip { Id = saved.Chips[0].Id, TenantId = TenantA, Serial = "?" };
            context.Attach(chip).Property(c => c.Serial).CurrentValue = "canary stub";
            Assert.Equal(2, sync ? context.SaveChanges() : await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary a", ["canary stub", "canary a/1"]));
        await using var reader = New();
        Assert.Equal(("canary note", 0), (await reader.Owners.Select(o => o.Note).SingleAsync(), await reader.Chips.Where(c => c.Id == saved.Chips[0].Id).Select(c => c.Pin).SingleAsync()));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_graph_that_was_changed_while_it_was_detached(bool sync)
    {
        await SaveAsync(TenantA, "a");
        Owner graph;
        await using (var context = New())
        {
            graph = await context.Owners.AsNoTracking().Include(o => o.Chips.OrderBy(c => c.Label)).SingleAsync();
        }

        graph.Name = "canary updated";
        graph.Chips[0].Serial = "canary chip";
        graph.Chips.Add(new Chip { TenantId = TenantA, Label = "a/2", Serial = "canary added" });
        await using (var context = New())
        {
            context.Update(graph);
            Assert.Equal(4, sync ? context.SaveChanges() : await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary updated", ["canary chip", "canary a/1", "canary added"]));
    }

    [Fact]
    public async Task A_cleared_change_tracker_forgets_what_was_not_saved()
    {
        await using (var context = New())
        {
            context.Add(NewOwner(TenantA, "gone"));
            context.ChangeTracker.Clear();
            Assert.Equal(0, await context.SaveChangesAsync());
            var owner = NewOwner(TenantA, "a");
            context.Add(owner);
            await context.SaveChangesAsync();
            context.ChangeTracker.Clear();
            (await context.Owners.SingleAsync()).Name = "canary again";
            owner.Name = "canary not tracked";
            context.Remove(await context.Chips.OrderBy(c => c.Label).FirstAsync());
            Assert.Equal(2, await context.SaveChangesAsync());
        }

        Assert.Equal((1, 1), (await StoredCells.CountAsync(Database, "Owners"), await StoredCells.CountAsync(Database, "Chips")));
        await ColdAsync();
        await using var reader = New();
        Assert.Equal(("canary again", "canary a/1"), ((await reader.Owners.SingleAsync()).Name, (await reader.Chips.SingleAsync()).Serial));
    }

    /// <summary>Adds a chip to each new owner, and writes into an encrypted column.</summary>
    private sealed class Stamp : SaveChangesInterceptor
    {
        public override InterceptionResult<int> SavingChanges(DbContextEventData eventData, InterceptionResult<int> result)
        {
            foreach (var owner in eventData.Context!.ChangeTracker.Entries<Owner>().Where(e => e.State == EntityState.Added).Select(e => e.Entity).ToList())
            {
                owner.Name += " (seen)";
                owner.Chips.Add(new Chip { TenantId = owner.TenantId, Label = "z", Serial = "canary stamp" });
            }

            return result;
        }

        public override ValueTask<InterceptionResult<int>> SavingChangesAsync(DbContextEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
            => new(SavingChanges(eventData, result));
    }
}

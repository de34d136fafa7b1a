using EfEnvelope.JobProcess.Load;
using EfEnvelope.Infrastructure;
using EfEnvelope.Metadata;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Tests.Infrastructure;

public sealed class SqliteForgottenTenantTests() : ForgottenTenantTests("SQLite");

public sealed class PostgresForgottenTenantTests() : ForgottenTenantTests("PostgreSQL");

/// <summary>
/// The data key that a model chooses is the one that options and attributes declare, or the model is refused: one that was made without <c>UseTenant</c>, before an attribute, or by other options of the process that share its cache of models. A second call of UseEnvelopeEncryption adds to the first.
/// </summary>
public abstract class ForgottenTenantTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_ready_made_model_without_the_tenant_of_the_options_is_refused()
    {
        IModel model;
        await using (var made = new TenantContext(_database.Options()))
        {
            await made.Database.EnsureCreatedAsync();
            model = made.Model;
        }

        await using var context = new TenantContext(_database.Options(e => e.UseTenant<TenantContext>(c => c.Tenant), o => o.UseModel(model))) { Tenant = "a" };
        Assert.Contains("UseTenant", (await RefusedAsync(async () =>
        {
            context.Add(new Letter { Text = "canary" });
            await context.SaveChangesAsync();
        })).Message, StringComparison.Ordinal);
        await RefusedAsync(() => context.Set<Letter>().ToListAsync());
        Assert.Equal(0, await StoredCells.CountAsync(_database, "Letters"));
    }

    [Fact]
    public async Task A_ready_made_model_with_the_tenant_is_served()
    {
        IModel model;
        await using (var made = new TenantContext(_database.Options(e => e.UseTenant(_ => null))))
        {
            await made.Database.EnsureCreatedAsync();
            model = made.Model;
        }

        await using var context = new TenantContext(_database.Options(e => e.UseTenant<TenantContext>(c => c.Tenant), o => o.UseModel(model))) { Tenant = "a" };
        context.Add(new Letter { Text = "canary" });
        await context.SaveChangesAsync();
        Assert.Equal("tenant:a", Assert.Single(await StoredCells.ScopesAsync(_database, "Letters", "Text", "Id")).Scope);
    }

    /// <summary>A cache of the application's own is keyed by the context's type: the first options of the process decide, whatever the others say.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_model_that_other_options_left_in_a_shared_cache_is_refused(bool encrypted)
    {
        using var cache = new MemoryCache(new MemoryCacheOptions { SizeLimit = 10_000 });
        var plain = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(plain).UseMemoryCache(cache);
        await using (var first = new TenantContext(encrypted ? _database.Options(more: o => o.UseMemoryCache(cache)) : plain.Options))
        {
            await first.Database.EnsureCreatedAsync();

            // Its queries are in the cache too, compiled.
            await UpdateAsync(first);
            await first.Set<Letter>().ToListAsync();
        }

        await using (var other = new TenantContext(_database.Options(e => e.UseTenant<TenantContext>(c => c.Tenant), o => o.UseMemoryCache(cache))) { Tenant = "a" })
        {
            await RefusedAsync(() => UpdateAsync(other));
        }

        await using (var other = new TenantContext(_database.Options(e => e.UseTenant<TenantContext>(c => c.Tenant), o => o.UseMemoryCache(cache))) { Tenant = "a" })
        {
            await RefusedAsync(() => other.Set<Letter>().ToListAsync());
        }

        await using var context = new TenantContext(_database.Options(e => e.UseTenant<TenantContext>(c => c.Tenant), o => o.UseMemoryCache(cache))) { Tenant = "a" };
        var error = await RefusedAsync(async () =>
        {
            context.Add(new Letter { Text = "canary" });
            await context.SaveChangesAsync();
        });
        Assert.Contains(encrypted ? "UseTenant" : "Letter.Text", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, await StoredCells.CountAsync(_database, "Letters"));
        await RefusedAsync(() => UpdateAsync(context));
        await RefusedAsync(() => context.Set<Letter>().ToListAsync());

        static Task UpdateAsync(DbContext context) => context.Set<Letter>().ExecuteUpdateAsync(s => s.SetProperty(l => l.Text, "canary"));
    }

    [Fact]
    public void A_ready_made_model_without_the_tenant_is_served_where_no_entity_belongs_to_it_by_default()
    {
        var plain = new DbContextOptionsBuilder().AmongMany();
        AdHocContext.Cached(_database.UseProvider(plain));
        foreach (var types in new[] { new[] { typeof(OfTenant), typeof(OfSubject) }, [typeof(OfTenant), typeof(OfRow)] })
        {
            IModel made;
            using (var context = new AdHocContext(plain.Options, m =>
            {
                Array.ForEach(types, type => m.Entity(type));
                m.UseEnvelopeEncryption();
            }))
            {
                made = context.Model;
            }

            using var wired = new AdHocContext(_database.Options(e => e.UseTenant(_ => "a"), o => o.UseModel(made)), _ => { });
            if (types.Contains(typeof(OfRow)))
            {
                Assert.Contains(nameof(OfRow), Assert.Throws<EnvelopeConfigurationException>(() => wired.Model).Message, StringComparison.Ordinal);
            }
            else
            {
                Assert.Same(made, wired.Model);
            }
        }
    }

    [Theory]
    [InlineData(typeof(OfTenant), "DataKeyPerTenant")]
    [InlineData(typeof(OfSubject), "DataKeyPerSubject")]
    [InlineData(typeof(OfRow), "DataKeyPerRow")]
    public void A_ready_made_model_from_before_a_scope_attribute_is_refused(Type type, string attribute)
    {
        var error = Stale(m =>
        {
            m.Entity(type);
            m.UseEnvelopeEncryption();
            m.Entity(type).Metadata.RemoveAnnotation(EnvelopeAnnotationNames.Scope);
            m.Entity(type).Metadata.RemoveAnnotation(EnvelopeAnnotationNames.PerRow);
        });
        Assert.Contains(type.Name, error.Entity, StringComparison.Ordinal);
        Assert.Contains(attribute, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(EnvelopeAnnotationNames.RowBound, "true")]
    [InlineData(EnvelopeAnnotationNames.Padding, "64")]
    [InlineData(EnvelopeAnnotationNames.ColumnId, "other")]
    public void A_ready_made_model_that_seals_otherwise_than_declared_is_refused(string annotation, string value)
    {
        var error = Stale(m =>
        {
            m.Entity<Letter>();
            m.UseEnvelopeEncryption();
            m.Entity<Letter>().Property(l => l.Text).Metadata.SetAnnotation(annotation, value);
        });
        Assert.Equal("Text", error.Property);
        Assert.Contains("dbcontext optimize", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_call_adds_to_the_first()
    {
        await using var services = new ServiceCollection()
            .AddDbContext<TenantContext>(o => _database.UseProvider(o).UseEnvelopeEncryption(e => e
                .UseInMemoryKms("first").UseTimeProvider(_database.Time).UseTenant<TenantContext>(c => c.Tenant).UseKeyRing(_database.Connect).With(x => x with { SealingLease = TimeSpan.FromSeconds(7) })))
            .ConfigureDbContext<TenantContext>(o => o.UseEnvelopeEncryption(e => e.UseKeyManagementService(_database.KeyService).With(x => x with { MaxCachedKeys = 77 })))
            .BuildServiceProvider();
        await using var scope = services.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<TenantContext>();
        await context.Database.EnsureCreatedAsync();
        var options = scope.ServiceProvider.GetRequiredService<DbContextOptions<TenantContext>>().FindExtension<EnvelopeOptionsExtension>()!;
        Assert.NotNull(options.AmbientTenant);
        Assert.NotNull(options.RingConnection);
        Assert.Equal((TimeSpan.FromSeconds(7), 77, null), (options.Options.SealingLease, options.Options.MaxCachedKeys, options.Options.InMemoryKms));

        context.Add(new Letter { Text = "canary" });
        Assert.IsType<MissingScopeException>(Innermost(await Record.ExceptionAsync(() => context.SaveChangesAsync())));
        context.Tenant = "a";
        await context.SaveChangesAsync();
        Assert.Equal("tenant:a", Assert.Single(await StoredCells.ScopesAsync(_database, "Letters", "Text", "Id")).Scope);
    }

    [Fact]
    public void A_second_call_changes_no_options_that_were_built_before()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(builder).UseEnvelopeEncryption(e => e.UseInMemoryKms("first"));
        var before = builder.Options.FindExtension<EnvelopeOptionsExtension>()!;
        builder.UseEnvelopeEncryption(e => e.UseInMemoryKms("second").UseTenant(_ => "a"));
        Assert.Equal(("first", true), (before.Options.InMemoryKms, before.AmbientTenant is null));
        var after = builder.Options.FindExtension<EnvelopeOptionsExtension>()!;
        Assert.Equal(("second", false), (after.Options.InMemoryKms, after.AmbientTenant is null));
    }

    private EnvelopeConfigurationException Stale(Action<ModelBuilder> model)
    {
        var plain = new DbContextOptionsBuilder().AmongMany();
        AdHocContext.Cached(_database.UseProvider(plain));
        IModel made;
        using (var context = new AdHocContext(plain.Options, model))
        {
            made = context.Model;
        }

        using var wired = new AdHocContext(_database.Options(more: o => o.UseModel(made)), _ => { });
        return Assert.Throws<EnvelopeConfigurationException>(() => wired.Model);
    }

    private static async Task<EnvelopeConfigurationException> RefusedAsync(Func<Task> use) => Assert.IsType<EnvelopeConfigurationException>(Innermost(await Record.ExceptionAsync(use)));

    private static Exception? Innermost(Exception? error) => error is null or EnvelopeEncryptionException ? error : Innermost(error.InnerException);

    public sealed class TenantContext(DbContextOptions options) : DbContext(options)
    {
        public string? Tenant { get; set; }

        protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Letter>().ToTable("Letters");
    }

    public sealed class Letter
    {
        public Guid Id { get; set; }

        [Encrypted]
        public string Text { get; set; } = "";
    }

    [DataKeyPerTenant(nameof(TenantId))]
    public sealed class OfTenant
    {
        public Guid Id { get; set; }

        public string TenantId { get; set; } = "";

        [Encrypted]
        public string Text { get; set; } = "";
    }

    [DataKeyPerSubject("customer", nameof(CustomerId))]
    public sealed class OfSubject
    {
        public Guid Id { get; set; }

        public string CustomerId { get; set; } = "";

        [Encrypted]
        public string Text { get; set; } = "";
    }

    [DataKeyPerRow]
    public sealed class OfRow
    {
        public Guid Id { get; set; }

        [Encrypted]
        public string Text { get; set; } = "";
    }
}

using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Tests.Infrastructure;

public sealed class SqliteWrongWiringTests() : WrongWiringTests("SQLite");

public sealed class PostgresWrongWiringTests() : WrongWiringTests("PostgreSQL");

/// <summary>Providers and options in the wrong order, of the wrong kind, or on one side only: a typed error that says what to do, and nothing written.</summary>
public abstract class WrongWiringTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_provider_that_is_registered_after_the_extension_is_refused()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        builder.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        _database.UseProvider(builder);
        var error = await AssertRefusedAsync(() => new BankContext(builder.Options));
        Assert.Contains("must come after the database provider", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_same_in_a_container_is_refused()
    {
        await using var services = new ServiceCollection()
            .AddDbContext<ContainerContext>(o => o.UseEnvelopeEncryption(e => e.UseInMemoryKms()))
            .ConfigureDbContext<ContainerContext>(o => _database.UseProvider(o))
            .BuildServiceProvider();
        await using var scope = services.CreateAsyncScope();
        var error = await AssertRefusedAsync(() => scope.ServiceProvider.GetRequiredService<ContainerContext>());
        Assert.Contains("must come after the database provider", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_internal_service_provider_of_ones_own_is_refused()
    {
        var services = new ServiceCollection();
        if (provider == "SQLite")
        {
            services.AddEntityFrameworkSqlite();
        }
        else
        {
            services.AddEntityFrameworkNpgsql();
        }

        await using var internals = services.BuildServiceProvider();
        var error = await AssertRefusedAsync(() => new BankContext(_database.Options(more: o => o.UseInternalServiceProvider(internals))));
        Assert.Contains("Remove UseInternalServiceProvider", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_model_alone_is_refused()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(builder);
        var error = await AssertRefusedAsync(() => new BankContext(builder.Options));
        Assert.Contains("UseEnvelopeEncryption", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Declared by the fluent API, and UseEnvelopeEncryption called nowhere, or too early: EF would know nothing of the declaration.</summary>
    [Theory]
    [InlineData("Text", false)]
    [InlineData("Text", true)]
    [InlineData("Amount", true)]
    [InlineData("Tags", false)]
    [InlineData("Tags", true)]
    [InlineData("Kind", false)]
    [InlineData("Kind", true)]
    public async Task A_declaration_by_the_fluent_API_alone_stores_nothing_in_the_clear(string encrypted, bool callFirst)
    {
        Action<ModelBuilder> model = m =>
        {
            if (callFirst)
            {
                m.UseEnvelopeEncryption();
            }

            m.Entity<Memo>(memo =>
            {
                memo.ToTable("Memos");
                memo.Property(x => x.Kind).HasConversion<string>();
                _ = encrypted switch
                {
                    "Text" => (object)memo.Property(x => x.Text).IsEncrypted(),
                    "Amount" => memo.Property(x => x.Amount).IsEncrypted(),
                    "Tags" => memo.PrimitiveCollection(x => x.Tags).IsEncrypted(),
                    _ => memo.Property(x => x.Kind).IsEncrypted(),
                };
            });
        };
        await using (var wired = new AdHocContext(_database.Options(more: AdHocContext.Cached), m =>
        {
            model(m);
            m.UseEnvelopeEncryption();
        }))
        {
            var create = wired.Database.GenerateCreateScript().Split(';').Single(s => s.Contains("CREATE TABLE \"Memos\"", StringComparison.Ordinal));
            await wired.Database.ExecuteSqlRawAsync(create);
            wired.Add(new Memo { Text = "canary", Amount = 1, Tags = ["canary"], Kind = DayOfWeek.Friday });
            await wired.SaveChangesAsync();
            wired.ChangeTracker.Clear();
            var read = await wired.Set<Memo>().SingleAsync();
            Assert.Equal(("canary", 1m, "canary", DayOfWeek.Friday), (read.Text, read.Amount, read.Tags.Single(), read.Kind));
        }

        var builder = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(builder);
        AdHocContext.Cached(builder);
        await using var forgotten = new AdHocContext(builder.Options, model);
        var thrown = await Record.ExceptionAsync(async () =>
        {
            forgotten.Add(new Memo { Text = "canary", Amount = 1, Tags = ["canary"], Kind = DayOfWeek.Friday });
            await forgotten.SaveChangesAsync();
        });
        while (thrown is not null and not EnvelopeConfigurationException)
        {
            thrown = thrown.InnerException;
        }

        Assert.Contains("UseEnvelopeEncryption", Assert.IsType<EnvelopeConfigurationException>(thrown).Message, StringComparison.Ordinal);
        Assert.Equal(1, await StoredCells.CountAsync(_database, "Memos"));
    }

    [Fact]
    public async Task A_property_that_is_taken_back_is_plain()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(builder);
        AdHocContext.Cached(builder);
        await using var context = new AdHocContext(builder.Options, m => m.Entity<Memo>().ToTable("Memos").Property(x => x.Text).IsEncrypted().IsNotEncrypted());
        Assert.Null(context.Model.FindEntityType(typeof(Memo))!.FindProperty(nameof(Memo.Text))!.GetValueConverter());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_collection_or_text_that_is_taken_back_is_plain_and_can_be_queried(bool callFirst)
    {
        await using var context = new AdHocContext(_database.Options(more: AdHocContext.Cached), m =>
        {
            var memo = m.Entity<Memo>().ToTable("Memos");
            memo.Property(x => x.Amount).IsEncrypted();
            if (callFirst)
            {
                memo.Property(x => x.Text).HasMaxLength(50).IsEncrypted();
                memo.PrimitiveCollection(x => x.Tags).IsEncrypted();
                m.UseEnvelopeEncryption();
            }

            memo.Property(x => x.Text).IsEncrypted().IsNotEncrypted();
            memo.PrimitiveCollection(x => x.Tags).IsEncrypted().IsNotEncrypted();
            m.UseEnvelopeEncryption();
        });
        await context.Database.ExecuteSqlRawAsync(context.Database.GenerateCreateScript().Split(';').Single(s => s.Contains("CREATE TABLE \"Memos\"", StringComparison.Ordinal)));
        context.Add(new Memo { Text = "plain", Amount = 7, Tags = ["one", "two"] });
        await context.SaveChangesAsync();
        context.ChangeTracker.Clear();
        Assert.Equal(7m, (await context.Set<Memo>().SingleAsync(x => x.Text == "plain" && x.Tags.Contains("two"))).Amount);
        Assert.Equal(callFirst ? 50 : null, context.Model.FindEntityType(typeof(Memo))!.FindProperty(nameof(Memo.Text))!.GetMaxLength());
        Assert.Equal(1, await StoredCells.AssertSealedAsync(_database, context));
    }

    /// <summary>The other side alone suffices: the options' convention encrypts what the model declares.</summary>
    [Fact]
    public async Task The_options_alone_encrypt()
    {
        await using var context = new OptionsOnlyContext(_database.Options());
        await context.Database.ExecuteSqlRawAsync(context.Database.GenerateCreateScript().Split("CREATE TABLE").Single(s => s.Contains("Slips", StringComparison.Ordinal)).Insert(0, "CREATE TABLE").Split(';')[0]);
        context.Add(new Slip { Text = "canary slip" });
        await context.SaveChangesAsync();
        Assert.Equal(1, await StoredCells.AssertSealedAsync(_database, context, "canary"));
        Assert.Equal("canary slip", (await context.Slips.AsNoTracking().SingleAsync()).Text);
    }

    /// <summary>A model that was compiled before the attribute was added: no convention runs over it.</summary>
    [Fact]
    public async Task A_ready_made_model_that_leaves_a_property_in_the_clear_is_refused()
    {
        var plain = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(plain);
        IModel model;
        await using (var context = new OptionsOnlyContext(plain.Options))
        {
            model = context.Model;
        }

        await using var wired = new OptionsOnlyContext(_database.Options(more: o => o.UseModel(model)));
        var error = Assert.Throws<EnvelopeConfigurationException>(() => wired.Add(new Slip { Text = "canary" }));
        Assert.EndsWith("Slip", error.Entity, StringComparison.Ordinal);
        Assert.Equal("Text", error.Property);
        Assert.Contains("dbcontext optimize", error.Message, StringComparison.Ordinal);
    }

    private async Task<EnvelopeConfigurationException> AssertRefusedAsync(Func<BankContext> create)
    {
        var thrown = await Record.ExceptionAsync(async () =>
        {
            await using var context = create();
            context.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "n", Ssn = "s" });
            await context.SaveChangesAsync();
        });
        while (thrown is not null and not EnvelopeConfigurationException)
        {
            thrown = thrown.InnerException;
        }

        Assert.Equal((0, 0), (await StoredCells.CountAsync(_database, "Customers"), await StoredCells.CountAsync(_database, "EnvelopeKeys")));
        return Assert.IsType<EnvelopeConfigurationException>(thrown);
    }

    public sealed class ContainerContext(DbContextOptions<ContainerContext> options) : BankContext(options);

    public sealed class Memo
    {
        public int Id { get; set; }

        public string Text { get; set; } = "";

        public decimal Amount { get; set; }

        public List<string> Tags { get; set; } = [];

        public DayOfWeek Kind { get; set; }
    }

    public sealed class Slip
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Text { get; set; }
    }

    public sealed class OptionsOnlyContext(DbContextOptions options) : DbContext(options)
    {
        public DbSet<Slip> Slips => Set<Slip>();
    }
}

/// <summary>Providers that cannot serve at all.</summary>
public sealed class UnservedProviderTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_in_memory_provider_is_refused_and_says_what_to_use(bool after)
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        if (after)
        {
            builder.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        }

        builder.UseInMemoryDatabase(Guid.NewGuid().ToString());
        if (!after)
        {
            builder.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        }

        var error = Refused(builder);
        Assert.Contains("uses InMemory", error.Message, StringComparison.Ordinal);
        Assert.Contains("UseSqlite(\"Data Source=:memory:\")", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_provider_at_all_says_so()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        builder.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        Assert.Contains("after a relational database provider (UseNpgsql, UseSqlite)", Refused(builder).Message, StringComparison.Ordinal);
    }

    /// <summary>EF looks at the options when a context is made.</summary>
    private static EnvelopeConfigurationException Refused(DbContextOptionsBuilder builder)
        => Assert.Throws<EnvelopeConfigurationException>(() =>
        {
            using var context = new BankContext(builder.Options);
            context.Add(new Plain { Text = "canary" });
            context.SaveChanges();
        });
}

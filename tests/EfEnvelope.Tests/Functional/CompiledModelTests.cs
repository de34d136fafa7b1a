using EfEnvelope.JobProcess.Load;
using System.Reflection;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Scaffolding;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteCompiledModelTests() : CompiledModelTests("SQLite");

public sealed class PostgresCompiledModelTests() : CompiledModelTests("PostgreSQL");

/// <summary>
/// A model as <c>dotnet ef dbcontext optimize</c> prints it, without a key service, compiled and used instead of OnModelCreating: it encrypts, reads and refuses like the model it was made from.
/// </summary>
public abstract class CompiledModelTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    /// <summary>EF's switch for design time is one for the process.</summary>
    private static readonly Lock DesignTime = new();

    private TestDatabase _database = null!;

    public enum Mood
    {
        Calm,
        Wild,
    }

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = new CompiledContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_compiled_model_encrypts_reads_and_refuses()
    {
        var model = Compile();
        CompiledContext New() => new(_database.Options(more: o => o.UseModel(model)));
        await using (var context = New())
        {
            Assert.Same(model, context.Model);
            context.AddRange(Sample(1), new Note { TenantId = TenantA, Text = "canary row", Length = 0 });
            Assert.Equal(2, await context.SaveChangesAsync());
        }

        await using (var context = New())
        {
            AssertSample(await context.Items.SingleAsync(), 1);
            var item = await context.Items.SingleAsync();
            item.Tags!.Add("canary three");
            item.Number = 0;
            item.Home.Number = 0;
            item.Profile!.Pin = 0;
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using (var context = New())
        {
            var item = await context.Items.AsNoTracking().SingleAsync();
            Assert.Equal((0, 0, 0, 3), (item.Number, item.Home.Number, item.Profile!.Pin, item.Tags!.Count));
            Assert.Equal("canary row", (await context.Notes.SingleAsync()).Text);
            await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Items.Where(i => i.Text == "x").ToListAsync());
            await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Items.OrderBy(i => i.Number).ToListAsync());
            context.Add(new Item { TenantId = Guid.Empty, Text = "canary nobody" });
            await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
            await StoredCells.AssertSealedAsync(_database, new CompiledContext(_database.Options()), "canary");
        }

        // What one writes the other reads.
        await using var plain = new CompiledContext(_database.Options());
        Assert.Equal("canary 1", (await plain.Items.SingleAsync()).Text);
    }

    [Fact]
    public async Task A_compiled_model_without_the_options_stores_nothing()
    {
        var model = Compile();
        var options = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(options).UseModel(model);
        await using var context = new CompiledContext(options.Options);
        context.Add(new Item { TenantId = TenantA });
        var error = await Record.ExceptionAsync(() => context.SaveChangesAsync());
        Assert.Contains(Causes(error), e => e is EnvelopeConfigurationException);
        Assert.Equal(0, await StoredCells.CountAsync(_database, "Items"));
    }

    [Fact]
    public async Task A_sentinel_that_was_planted_in_a_column_is_refused()
    {
        await using (var context = new CompiledContext(_database.Options()))
        {
            context.Add(Sample(1));
            await context.SaveChangesAsync();
        }

        await _database.ExecuteAsync("UPDATE \"Items\" SET \"Armored\" = 'EfEnvelope model sentinel 0000000000000000'");
        await using var reader = new CompiledContext(_database.Options(more: o => o.UseModel(Compile())));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Items.ToListAsync());
        await _database.ExecuteAsync("UPDATE \"Items\" SET \"Armored\" = NULL, \"Number\" = " + (provider == "SQLite" ? "x'0000000000000000'" : "'\\x0000000000000000'"));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Items.Select(i => i.Number).ToListAsync());
    }

    private static IEnumerable<Exception> Causes(Exception? error)
    {
        for (; error is not null; error = error.InnerException)
        {
            yield return error;
        }
    }

    private IModel Compile()
    {
        lock (DesignTime)
        {
            return CompileAlone();
        }
    }

    private IModel CompileAlone()
    {
        var folder = Directory.CreateTempSubdirectory("efenvelope-model-");
        try
        {
            using var context = new CompiledContext(_database.UseProvider(new DbContextOptionsBuilder().AmongMany()).UseEnvelopeEncryption(e => e.UseAwsKms("alias/none")).Options);
            var services = new ServiceCollection().AddEntityFrameworkDesignTimeServices().AddDbContextDesignTimeServices(context);
            var assembly = Assembly.Load(context.Database.ProviderName!);
            var design = (IDesignTimeServices)Activator.CreateInstance(assembly.GetType(assembly.GetCustomAttribute<DesignTimeProviderServicesAttribute>()!.TypeName, throwOnError: true)!)!;
            design.ConfigureDesignTimeServices(services);
            EF.IsDesignTime = true;
            using (var built = services.BuildServiceProvider())
            {
                built.GetRequiredService<ICompiledModelScaffolder>().ScaffoldModel(
                    context.GetService<IDesignTimeModel>().Model,
                    folder.FullName,
                    new CompiledModelCodeGenerationOptions { ModelNamespace = "Compiled", ContextType = typeof(CompiledContext), Language = "C#", UseNullableReferenceTypes = true });
            }

            return Load(folder);
        }
        finally
        {
            EF.IsDesignTime = false;
            folder.Delete(recursive: true);
        }
    }

    private static IModel Load(DirectoryInfo folder)
    {
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(path => MetadataReference.CreateFromFile(path));
        var compilation = CSharpCompilation.Create(
            "Compiled" + Guid.NewGuid().ToString("N"),
            folder.GetFiles("*.cs").Where(f => !f.Name.EndsWith("AssemblyAttributes.cs", StringComparison.Ordinal)).Select(f => CSharpSyntaxTree.ParseText(File.ReadAllText(f.FullName), path: f.Name)),
            references,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary));
        using var image = new MemoryStream();
        var result = compilation.Emit(image);
        Assert.True(result.Success, string.Join(Environment.NewLine, result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error)));
        image.Position = 0;
        var type = AssemblyLoadContext.Default.LoadFromStream(image).GetType("Compiled.CompiledContextModel", throwOnError: true)!;
        return (IModel)type.GetProperty("Instance", BindingFlags.Public | BindingFlags.Static)!.GetValue(null)!;
    }

    private static Item Sample(int n) => new()
    {
        TenantId = TenantA,
        Text = $"canary {n}",
        Number = n,
        Amount = 1.50m,
        Day = new DateOnly(2020, 1, n),
        Mood = Mood.Wild,
        TextMood = Mood.Wild,
        Armored = n,
        Tags = ["canary one", "two"],
        Marks = [1, 2, 3],
        Home = new Home { Number = n, Street = "canary street" },
        Profile = new Profile { Theme = "dark", Secret = "canary secret", Pin = 1000 + n },
    };

    private static void AssertSample(Item item, int n)
    {
        Assert.Equal(($"canary {n}", n, 1.50m, new DateOnly(2020, 1, n)), (item.Text, item.Number, item.Amount, item.Day));
        Assert.Equal((Mood.Wild, Mood.Wild, n), (item.Mood, item.TextMood, item.Armored));
        Assert.Equal(["canary one", "two"], item.Tags!);
        Assert.Equal([1, 2, 3], item.Marks!);
        Assert.Equal((n, "canary street"), (item.Home.Number, item.Home.Street));
        Assert.Equal(("canary secret", 1000 + n), (item.Profile!.Secret, item.Profile.Pin));
    }

    public sealed class CompiledContext(DbContextOptions options) : DbContext(options)
    {
        public DbSet<Item> Items => Set<Item>();

        public DbSet<Note> Notes => Set<Note>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Item>(item =>
            {
                item.HasDataKeyPerTenant(i => i.TenantId);
                item.Property(i => i.TextMood).HasConversion<string>();
                item.ComplexProperty(i => i.Home);
                item.OwnsOne(i => i.Profile, p => p.ToJson());
            });
            modelBuilder.Entity<Note>().Ignore(n => n.Scratch);
            modelBuilder.Entity<Note>().HasDataKeyPerTenant(n => n.TenantId).HasDataKeyPerRow();
            modelBuilder.UseEnvelopeEncryption();
        }
    }

    public sealed class Item
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string Text { get; set; } = "";

        [Encrypted]
        public int Number { get; set; }

        [Encrypted]
        public decimal Amount { get; set; }

        [Encrypted]
        public DateOnly Day { get; set; }

        [Encrypted]
        public Mood Mood { get; set; }

        [Encrypted]
        public Mood TextMood { get; set; }

        [Encrypted(Armored = true)]
        public int? Armored { get; set; }

        [Encrypted]
        public List<string>? Tags { get; set; }

        [Encrypted]
        public int[]? Marks { get; set; }

        public Home Home { get; set; } = new();

        public Profile? Profile { get; set; }
    }

    public sealed class Home
    {
        [Encrypted]
        public int Number { get; set; }

        [Encrypted]
        public string? Street { get; set; }
    }

    public sealed class Profile
    {
        public string Theme { get; set; } = "";

        [Encrypted]
        public string? Secret { get; set; }

        [Encrypted]
        public int Pin { get; set; }
    }

    public sealed class Note
    {
        [Encrypted]
        private string? _scratch;

        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string Text { get; set; } = "";

        [Encrypted(Armored = true)]
        public long Length { get; set; }

        /// <summary>Left out: a compiled model knows of it too.</summary>
        public string? Scratch
        {
            get => _scratch;
            set => _scratch = value;
        }

        [field: Encrypted]
        public string? Remark { get; set; }
    }
}

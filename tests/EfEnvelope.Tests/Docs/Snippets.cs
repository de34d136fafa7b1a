using Amazon.KeyManagementService;
using EfEnvelope.Cli;
using EfEnvelope.KeyManagement;
using EfEnvelope.Quartz;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Quartz;

#pragma warning disable IDE0059 // A snippet's result is for its reader.

namespace EfEnvelope.Tests.Docs;

/// <summary>The code of README.md and docs/, compiled: <see cref="SnippetTests"/> finds each line of theirs here.</summary>
internal static class Snippets
{
    public static async Task<int> QuickStartAsync(ModelBuilder modelBuilder, DbContextOptionsBuilder options, string connectionString, string[] args, Guid tenantId, BankContext context)
    {
        modelBuilder.Entity<Customer>().HasDataKeyPerTenant(c => c.TenantId);
        modelBuilder.UseEnvelopeEncryption();

        options.UseNpgsql(connectionString).UseEnvelopeEncryption(e => e.UseAwsKms("alias/banking"));
        options.UseSqlite("Data Source=shop.db").UseEnvelopeEncryption(e => e.UseLocalKms("dev-keys.json"));

        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(EnvelopeScope.Tenant(tenantId));
        var report = await keys.ReencryptAsync();
        return report.IsProven ? await VerbsAsync(args, new DbContextOptionsBuilder<BankContext>().Options) : 1;
    }

    public static async Task<int> VerbsAsync(string[] args, DbContextOptions<BankContext> options)
    {
#pragma warning disable IDE0011 // One line in Program.cs.
        if (args is ["envelope", .. var verb]) return await EnvelopeCommandLine.RunAsync(verb, () => new BankContext(options));
#pragma warning restore IDE0011
        return 0;
    }

    public static void Services(IServiceCollection services, IConfiguration configuration, string connectionString)
    {
        services.AddDbContext<BankContext>(options => options
            .UseNpgsql(connectionString)
            .UseEnvelopeEncryption(envelope => envelope
                .Bind(configuration.GetSection("EfEnvelope"))
                .With(o => o with { MaxCachedKeys = 10_000 })));

        services.AddSingleton<IAmazonKeyManagementService>(new AmazonKeyManagementServiceClient());
        services.AddSingleton<IKeyManagementService, HsmKeyManagementService>();
        services.AddDbContextPool<BankContext>(options => options
            .UseNpgsql(connectionString)
            .UseEnvelopeEncryption(envelope => envelope.UseKeyManagementService<IKeyManagementService>()));

        services.AddPooledDbContextFactory<TenantContext>(options => options
            .UseNpgsql(connectionString)
            .UseEnvelopeEncryption(envelope => envelope.UseAwsKms("alias/banking").UseTenant<TenantContext>(context => context.Tenant)));
    }

    public static async Task<string> OutsideAsync(BankContext context, Guid tenantId)
    {
        var protector = new EnvelopeProtector(context);
        var cell = await protector.SealAsync((Customer c) => c.FullName, "Ada Lovelace", EnvelopeScope.Tenant(tenantId));
        var name = await protector.OpenAsync((Customer c) => c.FullName, cell, EnvelopeScope.Tenant(tenantId));
        return name;
    }

    public static void Scheduled(IServiceCollection services)
    {
        services.AddEnvelopeReencryption<BankContext>(options =>
        {
            options.Interval = TimeSpan.FromHours(6);
            options.Window = ReencryptionWindow.Parse("22:00-05:00 Europe/Zurich");
            options.Job = options.Job with { MaxRowsPerSecond = 2_000 };
        });
        services.AddHealthChecks().AddCheck<ReencryptionHealthCheck<BankContext>>("re-encryption");
    }

    public static void Scheduler(IServiceCollection services, string connectionString)
    {
        services.AddQuartz(quartz =>
        {
            quartz.ConfigureScheduler(scheduler => scheduler.GenerateInstanceId = true);
            quartz.UsePersistentStore(store =>
            {
                store.UsePostgres(NpgsqlFactory.Instance, connectionString);
                store.UseSystemTextJsonSerializer();
                store.UseClustering();
            });
            quartz.AddEnvelopeReencryption<BankContext>("0 0 3 * * ?", options => options with { BatchSize = 500 }); // every night at 3
        });
        services.AddQuartzHostedService(hosted => hosted.WaitForJobsToComplete = true);
    }

    public static void History(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<CustomerHistory>(history =>
        {
            history.ToTable("customers_history", table => table.ExcludeFromMigrations());
            history.HasKey(h => h.Entry);
            history.IsEncryptedHistoryOf(typeof(Customer));
        });
    }

    public sealed class CustomerHistory
    {
        public long Entry { get; set; }
        public Guid TenantId { get; set; }
        public string? FullName { get; set; }
    }

    public sealed class Customer
    {
        public int Id { get; set; }
        public Guid TenantId { get; set; }
        [Encrypted] public required string FullName { get; set; }
        [Encrypted] public DateOnly? BirthDate { get; set; }
    }

    public sealed class BankContext(DbContextOptions<BankContext> options) : DbContext(options)
    {
        protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
            => configurationBuilder.UseEnvelopeEncryption(e => e.HasSchema("vault").HasTablePrefix("Envelope"));
    }

    public sealed class TenantContext(DbContextOptions<TenantContext> options) : DbContext(options)
    {
        public Guid? Tenant { get; set; }
    }

    public abstract class HsmKeyManagementService : IKeyManagementService
    {
        public abstract string Provider { get; }

        public abstract Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

        public abstract Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

        public abstract Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

        public abstract Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

        public abstract Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken);
    }
}

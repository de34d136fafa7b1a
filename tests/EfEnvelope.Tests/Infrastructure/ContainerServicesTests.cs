using EfEnvelope.JobProcess.Load;
using System.Collections.Concurrent;
using Amazon.KeyManagementService;
using EfEnvelope.KeyManagement;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Infrastructure;

/// <summary>The form that takes services of the application's container: key service, client of AWS KMS, logger, clock; whatever their lifetimes are.</summary>
public sealed class ContainerServicesTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _clock = new();
    private TestDatabase _database = null!;
    private FakeKmsServer _server = null!;

    public async Task InitializeAsync()
    {
        _server = await FakeKmsServer.StartAsync();
        _server.CreateKey("alias/banking");
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _database.DisposeAsync();
    }

    /// <summary>Options are built anew for each scope, from configuration, with a client of each lifetime: the ring's mac key and the tenant's are unwrapped once each.</summary>
    [Theory]
    [InlineData(ServiceLifetime.Singleton)]
    [InlineData(ServiceLifetime.Scoped)]
    [InlineData(ServiceLifetime.Transient)]
    public async Task A_thousand_scopes_make_one_call_a_key(ServiceLifetime lifetime)
    {
        await using (var writer = Services(ServiceLifetime.Singleton))
        {
            await SaveAsync(writer);
        }

        Assert.Equal(2, _server.Count("GenerateDataKey"));
        await using var services = Services(lifetime);
        for (var i = 0; i < 1000; i++)
        {
            await using var scope = services.CreateAsyncScope();
            var context = scope.ServiceProvider.GetRequiredService<ContainerContext>();
            if (i % 100 == 0)
            {
                Assert.Equal("n", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
            }
            else
            {
                Assert.NotNull(EnvelopeSession.Of(context).Ring);
            }
        }

        Assert.Equal(2, _server.Count("Decrypt"));
        Assert.Equal(2, _server.Count("GenerateDataKey"));
    }

    [Fact]
    public async Task The_containers_clock_and_logger_are_used()
    {
        var logs = new RecordingProvider();
        await using var services = Services(ServiceLifetime.Singleton, s => s.AddLogging(l => l.AddProvider(logs)));
        await SaveAsync(services);
        Assert.Contains(logs.Events, e => e == ("EfEnvelope", EnvelopeEventId.KeyCreated));
        await using var scope = services.CreateAsyncScope();
        Assert.Same(_clock, EnvelopeSession.Of(scope.ServiceProvider.GetRequiredService<ContainerContext>()).Runtime.TimeProvider);
    }

    [Fact]
    public async Task Where_the_options_name_an_endpoint_the_containers_client_is_not_asked()
    {
        await using var elsewhere = await FakeKmsServer.StartAsync();
        await using var services = new ServiceCollection().AddSingleton<TimeProvider>(_clock).AddSingleton(_server.CreateClient())
            .AddDbContext<ContainerContext>(o =>
            {
                _database.UseProvider(o);
                o.UseEnvelopeEncryption(e => e.UseAwsKms("alias/banking", a => a with { ServiceUrl = elsewhere.Url, Region = "us-east-1", MaxRetries = 0 }));
            }).BuildServiceProvider();
        await Assert.ThrowsAnyAsync<EnvelopeEncryptionException>(() => SaveAsync(services));
        Assert.Empty(_server.Requests);
    }

    [Theory]
    [InlineData(ServiceLifetime.Singleton)]
    [InlineData(ServiceLifetime.Scoped)]
    [InlineData(ServiceLifetime.Transient)]
    public async Task A_key_service_of_the_container_is_resolved_once(ServiceLifetime lifetime)
    {
        var made = 0;
        var collection = new ServiceCollection().AddSingleton<TimeProvider>(_clock).AddDbContext<ContainerContext>(o =>
        {
            _database.UseProvider(o);
            o.UseEnvelopeEncryption(e => e.UseKeyManagementService<IKeyManagementService>());
        });
        collection.Add(new ServiceDescriptor(
            typeof(IKeyManagementService),
            _ =>
            {
                Interlocked.Increment(ref made);
                return new InMemoryKeyManagementService();
            },
            lifetime));
        await using var services = collection.BuildServiceProvider(validateScopes: true);
        for (var i = 0; i < 20; i++)
        {
            await SaveAsync(services);
        }

        Assert.Equal(1, made);
        await using var scope = services.CreateAsyncScope();
        Assert.Equal(20, (await scope.ServiceProvider.GetRequiredService<ContainerContext>().Customers.AsNoTracking().ToListAsync()).Count);
    }

    [Theory]
    [InlineData(true, "register it in the container")]
    [InlineData(false, "was not made by a container")]
    public async Task A_key_service_that_is_not_there_is_named_and_nothing_is_written(bool container, string says)
    {
        void Configure(DbContextOptionsBuilder o) => _database.UseProvider(o).UseEnvelopeEncryption(e => e.UseKeyManagementService<IKeyManagementService>());
        var options = new DbContextOptionsBuilder().AmongMany();
        Configure(options);
        await using var services = new ServiceCollection().AddDbContext<ContainerContext>(Configure).BuildServiceProvider();
        await using var scope = services.CreateAsyncScope();
        await using BankContext context = container ? scope.ServiceProvider.GetRequiredService<ContainerContext>() : new BankContext(options.Options);
        context.Add(NewCustomer());
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.SaveChangesAsync());
        Assert.Contains("UseKeyManagementService<IKeyManagementService>()", error.Message, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        Assert.Equal((0, 0), (await StoredCells.CountAsync(_database, "Customers"), await StoredCells.CountAsync(_database, "EnvelopeKeys")));
    }

    [Fact]
    public async Task The_form_of_the_options_that_hands_over_the_container_works_too()
    {
        await using var services = new ServiceCollection().AddSingleton(_server.CreateClient()).AddSingleton<TimeProvider>(_clock)
            .AddSingleton<IKeyManagementService>(p => new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking" }, p.GetRequiredService<IAmazonKeyManagementService>()))
            .AddDbContextFactory<ContainerContext>((p, o) =>
            {
                _database.UseProvider(o);
                o.UseEnvelopeEncryption(e => e.UseKeyManagementService(p.GetRequiredService<IKeyManagementService>()));
            }).BuildServiceProvider();
        var factory = services.GetRequiredService<IDbContextFactory<ContainerContext>>();
        for (var i = 0; i < 5; i++)
        {
            await using var context = await factory.CreateDbContextAsync();
            context.Add(NewCustomer());
            await context.SaveChangesAsync();
        }

        Assert.Equal(2, _server.Count("GenerateDataKey"));
    }

    /// <summary>A mended environment is seen without a restart.</summary>
    [Fact]
    public async Task What_was_wrong_once_is_not_held_for_ever()
    {
        var healthy = false;
        await using var services = new ServiceCollection().AddSingleton<TimeProvider>(_clock)
            .AddSingleton<IKeyManagementService>(_ => healthy ? new InMemoryKeyManagementService() : throw new InvalidOperationException("not yet"))
            .AddDbContext<ContainerContext>(o =>
            {
                _database.UseProvider(o);
                o.UseEnvelopeEncryption(e => e.UseKeyManagementService<IKeyManagementService>());
            }).BuildServiceProvider();
        await Assert.ThrowsAsync<InvalidOperationException>(() => SaveAsync(services));
        healthy = true;
        await SaveAsync(services);
        Assert.Equal(1, await StoredCells.CountAsync(_database, "Customers"));
    }

    private ServiceProvider Services(ServiceLifetime lifetime, Action<IServiceCollection>? more = null)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([new("EfEnvelope:AwsKms:KeyId", "alias/banking"), new("EfEnvelope:MaxCachedKeys", "1000")]).Build();
        var services = new ServiceCollection().AddSingleton<TimeProvider>(_clock).AddDbContext<ContainerContext>(o =>
        {
            _database.UseProvider(o);
            o.UseEnvelopeEncryption(e => e.Bind(configuration.GetSection("EfEnvelope")));
        });
        services.Add(new ServiceDescriptor(typeof(IAmazonKeyManagementService), _ => _server.CreateClient(), lifetime));
        more?.Invoke(services);
        return services.BuildServiceProvider(validateScopes: true);
    }

    private static async Task SaveAsync(ServiceProvider services)
    {
        await using var scope = services.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<ContainerContext>();
        context.Add(NewCustomer());
        await context.SaveChangesAsync();
    }

    private static Customer NewCustomer() => new() { TenantId = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001"), FullName = "n", Ssn = "s" };

    public sealed class ContainerContext(DbContextOptions<ContainerContext> options) : BankContext(options);

    private sealed class RecordingProvider : ILoggerProvider, ILogger
    {
        private string _category = "";

        public ConcurrentQueue<(string Category, EventId Id)> Events { get; private init; } = new();

        public ILogger CreateLogger(string categoryName) => new RecordingProvider { _category = categoryName, Events = Events };

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Events.Enqueue((_category, eventId));

        public void Dispose()
        {
        }
    }
}

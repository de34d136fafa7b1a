using EfEnvelope.JobProcess.Load;
using Amazon.KeyManagementService;
using Amazon.Runtime;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.KeyManagement;

public sealed class SqliteBadKeyServiceTests() : BadKeyServiceTests("SQLite");

public sealed class PostgresBadKeyServiceTests() : BadKeyServiceTests("PostgreSQL");

/// <summary>A key service that is configured wrongly: a typed error that says what to do, and nothing written.</summary>
public abstract partial class BadKeyServiceTests(string provider) : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("efenvelope-bad-").FullName;
    private readonly FakeTimeProvider _clock = new();
    private TestDatabase _database = null!;
    private FakeKmsServer _server = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _server = await FakeKmsServer.StartAsync();
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        await _server.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task A_local_key_file_is_refused_in_production_unless_allowed_by_name()
    {
        var error = await AssertNothingWrittenAsync<EnvelopeConfigurationException>(Local("keys.json", environment: "Production"));
        Assert.Contains("AllowInProduction", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(PathOf("keys.json")));
        await using var allowed = Local("keys.json", environment: "Production", allow: true);
        allowed.Add(NewCustomer());
        Assert.Equal(1, await allowed.SaveChangesAsync());
    }

    /// <summary>The host's environment need not be the process's variable: <c>--environment</c>, UseEnvironment.</summary>
    [Theory]
    [InlineData("Development", true)]
    [InlineData("Production", false)]
    public async Task A_local_key_file_goes_by_the_environment_of_the_host(string environment, bool served)
    {
        await using var services = new ServiceCollection()
            .AddSingleton<IHostEnvironment>(new HostingEnvironment { EnvironmentName = environment })
            .AddDbContext<HostedContext>(o => _database.UseProvider(o).UseEnvelopeEncryption(e => e.UseLocalKms(PathOf($"{environment}.json"))))
            .BuildServiceProvider();
        await using var scope = services.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<HostedContext>();
        context.Add(NewCustomer());
        if (served)
        {
            Assert.Equal(1, await context.SaveChangesAsync());
            return;
        }

        Assert.Contains("AllowInProduction", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.SaveChangesAsync())).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(PathOf($"{environment}.json")));
    }

    public sealed class HostedContext(DbContextOptions<HostedContext> options) : BankContext(options);

    [Fact]
    public async Task The_wrong_key_file_is_refused_reading_and_writing()
    {
        await using (var right = Local("right.json"))
        {
            right.Add(NewCustomer());
            await right.SaveChangesAsync();
        }

        var error = await AssertNothingWrittenAsync<KeyRefusedException>(Local("wrong.json"), rows: 1);
        Assert.Contains("configure that one", error.Message, StringComparison.Ordinal);
        await using var reader = Local("wrong.json");
        await Assert.ThrowsAsync<KeyRefusedException>(() => reader.Customers.AsNoTracking().ToListAsync());
        await using var again = Local("right.json");
        Assert.Equal("n", (await again.Customers.AsNoTracking().SingleAsync()).FullName);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("")]
    [InlineData("{\"format\":\"EfEnvelope/local-kms/v1\",\"id\":\"local:1\",\"key\":\"AAAA\"}")]
    [InlineData("{\"format\":\"EfEnvelope/local-kms/v1\",\"id\":\"local:1\",\"key\":\"*\"}")]
    [InlineData("{\"format\":\"other\",\"id\":\"local:1\",\"key\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}")]
    public async Task What_is_no_key_file_is_refused_and_kept(string text)
    {
        await File.WriteAllTextAsync(PathOf("k.json"), text);
        SetMode("k.json", UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await AssertNothingWrittenAsync<EnvelopeConfigurationException>(Local("k.json"));
        Assert.Equal(text, await File.ReadAllTextAsync(PathOf("k.json")));
    }

    [Fact]
    public async Task An_unknown_alias_is_refused()
    {
        var error = await AssertNothingWrittenAsync<KeyRefusedException>(Aws("alias/unknown", _server.CreateClient()));
        Assert.Contains("alias/unknown", error.Message, StringComparison.Ordinal);
        Assert.Contains("account and region", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_ring_of_another_region_or_account_is_refused_without_a_call_to_unwrap()
    {
        var there = _server.CreateKey("alias/there");
        _server.CreateKey("alias/here");
        await using (var context = Aws("alias/there", _server.CreateClient()))
        {
            context.Add(NewCustomer());
            await context.SaveChangesAsync();
        }

        var before = _server.Count("Decrypt");
        var error = await AssertNothingWrittenAsync<KeyRefusedException>(Aws("alias/here", _server.CreateClient()), rows: 1);
        Assert.Contains(there, error.Message, StringComparison.Ordinal);
        Assert.Contains("FormerKeyArns", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, _server.Count("Decrypt"));
    }

    [Fact]
    public async Task A_key_of_another_region_than_the_configured_one_is_refused()
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(options);
        options.UseEnvelopeEncryption(e => e.UseAwsKms("arn:aws:kms:eu-central-1:111122223333:key/1234", o => o with { Region = "us-east-1" }).UseTimeProvider(new FakeTimeProvider()));
        var error = await AssertNothingWrittenAsync<EnvelopeConfigurationException>(new BankContext(options.Options));
        Assert.Contains("eu-central-1", error.Message, StringComparison.Ordinal);
        Assert.Contains("us-east-1", error.Message, StringComparison.Ordinal);
    }

    /// <summary>KMS answers so when the endpoint's region is not the key's.</summary>
    [Theory]
    [InlineData("NotFoundException", "account and region")]
    [InlineData("InvalidArnException", "another region")]
    public async Task A_key_that_the_endpoints_region_does_not_know_is_refused(string type, string says)
    {
        _server.FailNext(type, 400, times: 1000);
        Assert.Contains(says, (await AssertNothingWrittenAsync<KeyRefusedException>(Aws("arn:aws:kms:eu-central-1:111122223333:key/1234", _server.CreateClient()))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unreachable_kms_is_a_transient_error()
    {
        var nowhere = new AmazonKeyManagementServiceClient(
            new BasicAWSCredentials("a", "b"), new AmazonKeyManagementServiceConfig { ServiceURL = "http://127.0.0.1:1", AuthenticationRegion = "us-east-1", MaxErrorRetry = 0 });
        await AssertNothingWrittenAsync<KeyUnavailableException>(Aws("alias/banking", nowhere));
    }

    [Theory]
    [InlineData("AccessDeniedException")]
    [InlineData("DisabledException")]
    [InlineData("KMSInvalidStateException")]
    [InlineData("ThrottlingException")]
    public async Task A_kms_that_refuses_or_throttles_leaves_nothing_written(string type)
    {
        _server.CreateKey("alias/banking");
        _server.FailNext(type, 400, times: 1000);
        await AssertNothingWrittenAsync<EnvelopeEncryptionException>(Aws("alias/banking", _server.CreateClient()));
    }

    [Fact]
    public async Task No_key_service_at_all_names_the_three()
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(options);
        options.UseEnvelopeEncryption(_ => { });
        var error = await AssertNothingWrittenAsync<EnvelopeConfigurationException>(new BankContext(options.Options));
        Assert.Contains("UseAwsKms", error.Message, StringComparison.Ordinal);
        Assert.Contains("UseLocalKms", error.Message, StringComparison.Ordinal);
        Assert.Contains("UseInMemoryKms", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_containers_kms_client_is_used()
    {
        _server.CreateKey("alias/banking");
        await using var services = new ServiceCollection()
            .AddSingleton(_server.CreateClient())
            .AddDbContext<ContainerContext>(o =>
            {
                _database.UseProvider(o);
                o.UseEnvelopeEncryption(e => e.UseAwsKms("alias/banking").UseTimeProvider(_clock));
            }).BuildServiceProvider();
        await using var scope = services.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<ContainerContext>();
        context.Add(NewCustomer());
        await context.SaveChangesAsync();
        Assert.Equal(2, _server.Count("GenerateDataKey"));
    }

    [Fact]
    public async Task A_bulk_update_that_gets_no_key_leaves_nothing_written()
    {
        await using var context = Aws("alias/unknown", _server.CreateClient());
        var tenant = NewCustomer().TenantId;
        await Assert.ThrowsAsync<KeyRefusedException>(() => context.Customers.Where(c => c.TenantId == tenant).ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, "x")));
        Assert.Equal((0L, 0L), (await CountAsync("EnvelopeKeys"), await CountAsync("EnvelopeColumns")));
    }

    private static Customer NewCustomer() => new() { TenantId = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001"), FullName = "n", Ssn = "s" };

    private async Task<T> AssertNothingWrittenAsync<T>(BankContext context, long rows = 0)
        where T : EnvelopeEncryptionException
    {
        await using (context)
        {
            var (keys, columns) = (await CountAsync("EnvelopeKeys"), await CountAsync("EnvelopeColumns"));
            context.Add(NewCustomer());
            var error = await Assert.ThrowsAnyAsync<T>(() => context.SaveChangesAsync());
            Assert.Equal((rows, keys, columns), (await CountAsync("Customers"), await CountAsync("EnvelopeKeys"), await CountAsync("EnvelopeColumns")));

            // The ring's own row may be there: its UUID and salt stand in every request to the key service, so they are committed before the first.
            Assert.InRange(await CountAsync("EnvelopeRing"), 0, 1);
            return error;
        }
    }

    private async Task<long> CountAsync(string table) => Convert.ToInt64(await _database.ScalarAsync($"SELECT COUNT(*) FROM \"{table}\""));

    /// <summary>Each a process of its own.</summary>
    private BankContext Local(string file, string environment = "Development", bool allow = false)
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        _database.UseProvider(options);
        options.UseEnvelopeEncryption(e => e.UseLocalKms(PathOf(file), o => o with { Environment = environment, AllowInProduction = allow }).UseTimeProvider(new FakeTimeProvider()));
        return new BankContext(options.Options);
    }

    private BankContext Aws(string key, IAmazonKeyManagementService client)
        => new(_database.Options(e => e.UseKeyManagementService(new EfEnvelope.KeyManagement.AwsKeyManagementService(new EfEnvelope.KeyManagement.AwsKmsOptions { KeyId = key }, client)).UseTimeProvider(new FakeTimeProvider())));

    private string PathOf(string name) => Path.Combine(_folder, name);

    private void SetMode(string name, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(PathOf(name), mode);
        }
    }

    public sealed class ContainerContext(DbContextOptions<ContainerContext> options) : BankContext(options);
}

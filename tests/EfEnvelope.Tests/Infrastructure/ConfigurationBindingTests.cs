using EfEnvelope.JobProcess.Load;
using EfEnvelope.KeyManagement;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Infrastructure;

/// <summary>Options from configuration: every option, and a typed error that names the key for everything that is wrong.</summary>
public sealed class ConfigurationBindingTests
{
    [Fact]
    public void Every_option_is_bound()
    {
        var options = Bind(
            ("AwsKms:KeyId", "alias/banking"), ("AwsKms:FormerKeyArns", "arn:aws:kms:eu-central-1:1:key/a"), ("AwsKms:Region", "eu-central-1"), ("AwsKms:ServiceUrl", "https://kms.example.org"),
            ("AwsKms:Timeout", "00:00:02"), ("AwsKms:MaxRetries", "1"), ("SealingLease", "00:00:30"), ("KeyRevalidationInterval", "00:10:00"), ("MaximumKeyAge", "1.00:00:00"),
            ("MaxCachedKeys", "500"), ("Cipher", "bcl"), ("RequireFips", "true"), ("EncryptionContext", "app=bank,stage=test")).Options;
        Assert.Equal(
            new EnvelopeOptions
            {
                AwsKms = new AwsKmsOptions
                {
                    KeyId = "alias/banking", FormerKeyArns = "arn:aws:kms:eu-central-1:1:key/a", Region = "eu-central-1", ServiceUrl = "https://kms.example.org",
                    Timeout = TimeSpan.FromSeconds(2), MaxRetries = 1,
                },
                SealingLease = TimeSpan.FromSeconds(30),
                KeyRevalidationInterval = TimeSpan.FromMinutes(10),
                MaximumKeyAge = TimeSpan.FromDays(1),
                MaxCachedKeys = 500,
                Cipher = CipherBackend.Bcl,
                RequireFips = true,
                EncryptionContext = "app=bank,stage=test",
            },
            options);
        Assert.Equal(new LocalKmsOptions { Path = "k.json", AllowInProduction = true, Environment = "Staging" }, Bind(("LocalKms:Path", "k.json"), ("LocalKms:AllowInProduction", "True"), ("LocalKms:Environment", "Staging")).Options.LocalKms);
        Assert.Equal("tests", Bind(("InMemoryKms", "tests")).Options.InMemoryKms);
    }

    /// <summary>A new option that nobody binds or checks would be noticed here.</summary>
    [Fact]
    public void There_is_no_option_that_this_class_does_not_know()
        => Assert.Equal(
            ["AwsKms", "Cipher", "EncryptionContext", "InMemoryKms", "KeyRevalidationInterval", "LocalKms", "MaxCachedKeys", "MaximumKeyAge", "RequireFips", "SealingLease"],
            typeof(EnvelopeOptions).GetProperties().Select(p => p.Name).Order(StringComparer.Ordinal));

    [Theory]
    [InlineData("SealingLease", "soon", "EfEnvelope:SealingLease")]
    [InlineData("SealingLease", "60", "EfEnvelope:SealingLease is 60.00:00:00; it must be 00:00:01 to 00:10:00")]
    [InlineData("SealingLease", "00:00:00.5", "EfEnvelope:SealingLease")]
    [InlineData("SealingLease", "-00:01:00", "EfEnvelope:SealingLease")]
    [InlineData("KeyRevalidationInterval", "1.00:00:01", "EfEnvelope:KeyRevalidationInterval")]
    [InlineData("MaximumKeyAge", "00:00:59", "EfEnvelope:MaximumKeyAge")]
    [InlineData("MaxCachedKeys", "many", "EfEnvelope:MaxCachedKeys")]
    [InlineData("MaxCachedKeys", "15", "EfEnvelope:MaxCachedKeys is 15; it must be 16 to 10000000")]
    [InlineData("Cipher", "Rot13", "EfEnvelope:Cipher")]
    [InlineData("Cipher", "7", "EfEnvelope:Cipher is 7; it must be Automatic, Bcl, Libsodium")]
    [InlineData("RequireFips", "perhaps", "EfEnvelope:RequireFips")]
    [InlineData("EncryptionContext", "app", "EfEnvelope:EncryptionContext")]
    [InlineData("EncryptionContext", "efenvelope:ring=1", "EfEnvelope:EncryptionContext")]
    [InlineData("AwsKms:KeyId", " ", "EfEnvelope:AwsKms:KeyId is missing")]
    [InlineData("AwsKms:Region", "eu-central-1", "EfEnvelope:AwsKms:KeyId is missing")]
    [InlineData("AwsKms", "alias/banking", "EfEnvelope:AwsKms:KeyId")]
    [InlineData("LocalKms", "keys.json", "EfEnvelope:LocalKms:Path")]
    [InlineData("LocalKms:AllowInProduction", "true", "EfEnvelope:LocalKms:Path is missing")]
    [InlineData("SealingLeese", "00:00:10", "EfEnvelope:SealingLeese is no option")]
    [InlineData("AwsKms:Key", "alias/banking", "EfEnvelope:AwsKms:Key is no option")]
    [InlineData("SealingLease:Seconds", "10", "EfEnvelope:SealingLease is a single value")]
    public void A_wrong_value_is_refused_and_the_key_named(string key, string value, string says)
        => Assert.Contains(says, Refused((key, value)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("Timeout", "00:00:00.05", "EfEnvelope:AwsKms:Timeout")]
    [InlineData("Timeout", "00:05:01", "EfEnvelope:AwsKms:Timeout")]
    [InlineData("Timeout", "5s", "EfEnvelope:AwsKms:Timeout")]
    [InlineData("MaxRetries", "11", "EfEnvelope:AwsKms:MaxRetries")]
    [InlineData("MaxRetries", "-1", "EfEnvelope:AwsKms:MaxRetries")]
    [InlineData("ServiceUrl", "localhost:8080", "EfEnvelope:AwsKms:ServiceUrl")]
    [InlineData("Region", "us-east-1", "is a key of region 'eu-central-1'")]
    public void A_wrong_value_of_the_kms_is_refused_and_the_key_named(string key, string value, string says)
        => Assert.Contains(says, Refused(("AwsKms:KeyId", "arn:aws:kms:eu-central-1:111122223333:key/1"), ("AwsKms:" + key, value)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_section_that_does_not_exist_is_refused()
        => Assert.Contains("'EfEnvelope' is empty or does not exist", Refused().Message, StringComparison.Ordinal);

    [Fact]
    public void Two_key_services_are_refused()
        => Assert.Contains("EfEnvelope:AwsKms and EfEnvelope:LocalKms", Refused(("AwsKms:KeyId", "alias/a"), ("LocalKms:Path", "k.json")).Message, StringComparison.Ordinal);

    [Fact]
    public void Libsodium_under_fips_is_refused()
        => Assert.Contains("EfEnvelope:RequireFips", Refused(("RequireFips", "true"), ("Cipher", "Libsodium")).Message, StringComparison.Ordinal);

    [Fact]
    public void What_the_section_leaves_out_stays_as_it_was()
    {
        var shared = new AwsKmsOptions { KeyId = "alias/banking", MaxRetries = 7 };
        var builder = new EnvelopeOptionsBuilder().UseAwsKms("ignored", _ => shared).With(o => o with { MaxCachedKeys = 77 });
        builder.Bind(Section(("SealingLease", "00:00:10"), ("AwsKms:Region", "eu-west-1")));
        Assert.Equal(new EnvelopeOptions { AwsKms = shared with { Region = "eu-west-1" }, MaxCachedKeys = 77, SealingLease = TimeSpan.FromSeconds(10) }, builder.Options);
        Assert.Null(shared.Region);
    }

    [Fact]
    public void The_last_key_service_counts()
    {
        var own = new InMemoryKeyManagementService();
        var builder = new EnvelopeOptionsBuilder().UseKeyManagementService(own).Bind(Section(("SealingLease", "00:00:10")));
        Assert.Same(own, builder.KeyManagement);
        builder.Bind(Section(("InMemoryKms", "a")));
        Assert.Equal((null, "a"), (builder.KeyManagement, builder.Options.InMemoryKms));
        builder.UseKeyManagementService(own);
        Assert.Equal((own, null), (builder.KeyManagement, builder.Options.InMemoryKms));
        builder.UseLocalKms("k.json");
        Assert.Equal((null, "k.json"), (builder.KeyManagement, builder.Options.LocalKms?.Path));
    }

    [Fact]
    public void Without_a_section_of_its_own_the_keys_have_no_prefix()
    {
        var root = new ConfigurationBuilder().AddInMemoryCollection([new("MaxCachedKeys", "1")]).Build();
        Assert.StartsWith("MaxCachedKeys is 1", Assert.Throws<EnvelopeConfigurationException>(() => new EnvelopeOptionsBuilder().Bind(root)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Values_out_of_range_in_code_are_refused_when_the_context_is_used_and_nothing_is_written()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        await using (var context = new BankContext(database.Options()))
        {
            await context.Database.EnsureCreatedAsync();
        }

        await using var wrong = new BankContext(database.Options(e => e.With(o => o with { SealingLease = TimeSpan.FromHours(1) })));
        wrong.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "n", Ssn = "s" });
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => wrong.SaveChangesAsync());
        Assert.Contains("EnvelopeOptions.SealingLease is 01:00:00", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, await StoredCells.CountAsync(database, "Customers"));
    }

    [Fact]
    public async Task A_context_runs_from_a_section()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        var options = new DbContextOptionsBuilder().AmongMany();
        database.UseProvider(options).UseEnvelopeEncryption(e => e.Bind(Section(("InMemoryKms", Guid.NewGuid().ToString()), ("SealingLease", "00:00:10"))).UseTimeProvider(new FakeTimeProvider()));
        await using var context = new BankContext(options.Options);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "canary", Ssn = "s" });
        await context.SaveChangesAsync();
        Assert.True(await StoredCells.AssertSealedAsync(database, context, "canary") > 0);
        Assert.Equal(TimeSpan.FromSeconds(10), EfEnvelope.Storage.EnvelopeSession.Of(context).Runtime.RingOptions.SealingLease);
    }

    private static EnvelopeConfigurationException Refused(params (string Key, string Value)[] values) => Assert.Throws<EnvelopeConfigurationException>(() => Bind(values));

    private static EnvelopeOptionsBuilder Bind(params (string Key, string Value)[] values) => new EnvelopeOptionsBuilder().Bind(Section(values));

    private static IConfigurationSection Section(params (string Key, string Value)[] values)
        => new ConfigurationBuilder().AddInMemoryCollection(values.Select(v => new KeyValuePair<string, string?>("EfEnvelope:" + v.Key, v.Value))).Build().GetSection("EfEnvelope");
}

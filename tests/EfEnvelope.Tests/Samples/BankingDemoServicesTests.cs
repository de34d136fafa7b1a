using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Samples;

/// <summary>The demo on services that are not on its own disk.</summary>
public sealed class BankingDemoServicesTests : DemoTests
{
    [Fact]
    public async Task It_runs_on_a_kms_with_the_sdks_ordinary_endpoint_and_credentials()
    {
        await using var kms = await FakeKmsServer.StartAsync();
        kms.CreateKey("alias/banking");
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--customers", "40", "--aws-kms", "alias/banking"], Kms(kms));
        AssertSucceeded(run);
        await AssertNoStaleCellAsync(cells: null);
        Assert.False(File.Exists(Path.Combine(Folder, "dev-keys.json")));

        // The mac key; field key and kek of three tenants, and of the two that were changed; the global one.
        Assert.InRange(kms.Count("GenerateDataKey"), 8, 14);
        Assert.All(kms.Requests, r => Assert.DoesNotContain("a1000000", r.Body, StringComparison.OrdinalIgnoreCase));
    }

    [Theory]
    [InlineData("alias/unknown", "does not exist in this account and region")]
    [InlineData("", "KeyId is missing")]
    public async Task A_kms_key_that_is_not_there_ends_it_with_a_clear_error_and_nothing_saved(string key, string says)
    {
        await using var kms = await FakeKmsServer.StartAsync();
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--customers", "3", "--aws-kms", key], Kms(kms));
        Assert.NotEqual(0, run.ExitCode);
        Assert.Contains(says, run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
        await using var context = Open();
        Assert.Equal(0, await context.Set<Customer>().CountAsync());
    }

    [Fact]
    public async Task It_runs_on_postgres()
    {
        await using var database = await TestDatabase.CreateAsync("PostgreSQL");
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--customers", "40", "--postgres", database.ConnectionString]);
        AssertSucceeded(run);
        Assert.Contains("4 workers;", run.Output, StringComparison.Ordinal);
        Assert.Contains("Quarantine: empty.", run.Output, StringComparison.Ordinal);
        Assert.Equal(40, await StoredCells.CountAsync(database, "Customers"));
        Assert.Empty(Directory.EnumerateFiles(Folder, "*.db"));
    }

    [Fact]
    public async Task A_database_that_cannot_be_reached_is_a_clear_error()
    {
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--postgres", "Host=127.0.0.1;Port=1;Username=u;Password=canary-password;Database=d;Timeout=3"]);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("The database cannot be used", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("canary-password", run.Output + run.Error, StringComparison.Ordinal);
    }

    private static (string, string)[] Kms(FakeKmsServer kms)
        => [("AWS_ENDPOINT_URL_KMS", kms.Url), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1"), ("AWS_MAX_ATTEMPTS", "1")];
}

using EfEnvelope.KeyManagement;

namespace EfEnvelope.Tests.KeyManagement;

public sealed class LocalKeyManagementServiceTests : IDisposable
{
    private static readonly Dictionary<string, string> Context = new() { ["a"] = "b" };

    private readonly string _folder = Directory.CreateTempSubdirectory("efenvelope-local-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Production_is_refused_unless_allowed_by_name()
    {
        Assert.Throws<EnvelopeConfigurationException>(() => Service("Production"));
        Assert.Equal("local", new LocalKeyManagementService(new LocalKmsOptions { Path = PathOf("k"), Environment = "Production", AllowInProduction = true }).Provider);
    }

    [Fact]
    public async Task The_file_is_the_owners_alone_and_serves_the_next_process()
    {
        var generated = await Service("Development").GenerateKeyAsync(Context, default);
        Assert.Equal(generated.Plaintext, await Service("Development").UnwrapAsync(generated.Wrapped, Context, default));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(PathOf("keys.json")));
            File.SetUnixFileMode(PathOf("keys.json"), UnixFileMode.UserRead | UnixFileMode.GroupRead);
            await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => Service("Development").GenerateKeyAsync(Context, default));
        }
    }

    [Fact]
    public async Task A_damaged_foreign_or_missing_place_says_so()
    {
        File.WriteAllText(PathOf("keys.json"), "not json");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(PathOf("keys.json"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => Service("Development").GenerateKeyAsync(Context, default));
        var nowhere = new LocalKeyManagementService(new LocalKmsOptions { Path = Path.Combine(_folder, "no", "such", "folder", "k.json"), Environment = "Development" });
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => nowhere.GenerateKeyAsync(Context, default));
    }

    private LocalKeyManagementService Service(string environment) => new(new LocalKmsOptions { Path = PathOf("keys.json"), Environment = environment });

    private string PathOf(string name) => Path.Combine(_folder, name);
}

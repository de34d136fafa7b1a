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

    [Fact]
    public async Task Who_would_make_the_file_while_another_makes_it_waits_and_takes_the_others()
    {
        var first = (await Service("Development", "first.json").GenerateKeyAsync(Context, default)).Wrapped.RootKeyId;
        Task<GeneratedKey> late;
        await using (new FileStream(PathOf("keys.json.lock"), FileMode.OpenOrCreate, FileAccess.Write, FileShare.None))
        {
            // It looked, and there was no file.
            late = Service("Development").GenerateKeyAsync(Context, default);
            File.Move(PathOf("first.json"), PathOf("keys.json"));
        }

        Assert.Equal(first, (await late).Wrapped.RootKeyId);
        Assert.Empty(Directory.GetFiles(_folder, "*.tmp"));
    }

    [Fact]
    public async Task The_file_is_read_while_its_maker_still_brings_it_to_the_disk()
    {
        var made = (await Service("Development").GenerateKeyAsync(Context, default)).Wrapped.RootKeyId;

        // As its maker does; a lock that Windows alone keeps.
        await using var held = new FileStream(PathOf("keys.json"), FileMode.Open, FileAccess.ReadWrite, FileShare.Read);
        Assert.Equal(made, (await Service("Development").DescribeRootKeyAsync(default)).RootKeyId);
    }

    [Fact]
    public async Task Racing_creators_end_with_one_key()
    {
        for (var round = 0; round < 10; round++)
        {
            using var start = new Barrier(4);
            var name = $"race{round}.json";
            var made = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Factory.StartNew(
                () =>
                {
                    start.SignalAndWait();
                    return Service("Development", name).GenerateKeyAsync(Context, default);
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default).Unwrap()));
            var there = (await Service("Development", name).DescribeRootKeyAsync(default)).RootKeyId;
            Assert.All(made, key => Assert.Equal(there, key.Wrapped.RootKeyId));
        }
    }

    private LocalKeyManagementService Service(string environment, string name = "keys.json") => new(new LocalKmsOptions { Path = PathOf(name), Environment = environment });

    private string PathOf(string name) => Path.Combine(_folder, name);
}

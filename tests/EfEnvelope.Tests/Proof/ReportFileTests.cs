using EfEnvelope.Cli;

namespace EfEnvelope.Tests.Proof;

/// <summary>Where a report is to be written, what was there before is neither changed nor removed. The verb fails right after it made its files: no context can be made.</summary>
public sealed class ReportFileTests : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode EverybodyReads = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private readonly string _folder = Directory.CreateTempSubdirectory("efenvelope-report-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_file_that_was_made_for_nothing_goes_again()
    {
        Assert.Equal(1, await RunAsync("new.json"));
        Assert.Empty(Directory.GetFiles(_folder));
    }

    [Fact]
    public async Task An_empty_file_that_the_user_made_is_refused_and_left_as_it_is()
    {
        if (OperatingSystem.IsWindows())
        {
            // No mode tells it from what a killed process leaves.
            Make("mine.json", default);
            Assert.Equal(1, await RunAsync("mine.json"));
            Assert.True(File.Exists(Path.Combine(_folder, "mine.json")));
            return;
        }

        Make("mine.json", EverybodyReads);
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("mine.json"));
        Assert.Equal(EverybodyReads, File.GetUnixFileMode(Path.Combine(_folder, "mine.json")));
        Assert.Single(Directory.GetFiles(_folder));

        // The text form beside it: what was made before goes.
        Make("other.txt", EverybodyReads);
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("other.json"));
        Assert.False(File.Exists(Path.Combine(_folder, "other.json")));
        Assert.Equal(EverybodyReads, File.GetUnixFileMode(Path.Combine(_folder, "other.txt")));
    }

    [Fact]
    public async Task What_a_killed_process_left_is_taken_up_and_kept_where_the_verb_fails()
    {
        Make("left.json", OwnerOnly);
        Assert.Equal(1, await RunAsync("left.json"));
        Assert.Equal(["left.json"], Directory.GetFiles(_folder).Select(Path.GetFileName));

        // Nobody holds it any more.
        await using var free = new FileStream(Path.Combine(_folder, "left.json"), FileMode.Open, FileAccess.Write, FileShare.None);
        Assert.Equal(0, free.Length);
    }

    [Fact]
    public async Task A_link_is_refused_wherever_it_leads()
    {
        Make("target.json", OwnerOnly);
        File.CreateSymbolicLink(Path.Combine(_folder, "link.json"), Path.Combine(_folder, "target.json"));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("link.json"));
        Assert.Equal(2, Directory.GetFiles(_folder).Length);
    }

    [Theory]
    [InlineData("/dev/null")]
    [InlineData("/dev/zero")]
    public async Task A_device_is_refused_and_left_as_it_is(string device)
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.False(File.Exists(device));
            return;
        }

        var before = File.GetUnixFileMode(device);
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync(device));
        Assert.Equal(before, File.GetUnixFileMode(device));
        Assert.False(File.Exists(device + ".txt"));
    }

    private void Make(string name, UnixFileMode mode)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllText(path, "");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, mode);
        }
    }

    private Task<int> RunAsync(string name)
        => EnvelopeCommandLine.RunAsync(["reencrypt", "--report", Path.Combine(_folder, name)], () => throw new InvalidOperationException("no database"));
}

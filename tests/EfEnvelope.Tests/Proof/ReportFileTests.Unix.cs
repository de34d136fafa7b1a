using System.Runtime.Versioning;
using EfEnvelope.Cli;

namespace EfEnvelope.Tests.Proof;

/// <summary>What needs the modes of files.</summary>
public sealed partial class ReportFileTests
{
    private const UnixFileMode EverybodyReads = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public async Task An_empty_file_that_the_user_made_is_refused_and_left_as_it_is()
    {
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

    [Theory]
    [UnsupportedOSPlatform("windows")]
    [InlineData("/dev/null")]
    [InlineData("/dev/zero")]
    public async Task A_device_is_refused_and_left_as_it_is(string device)
    {
        var before = File.GetUnixFileMode(device);
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync(device));
        Assert.Equal(before, File.GetUnixFileMode(device));
        Assert.False(File.Exists(device + ".txt"));
    }
}

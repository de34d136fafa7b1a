using EfEnvelope.Cli;

namespace EfEnvelope.Tests.Proof;

/// <summary>Where a report is to be written, what was there before is neither changed nor removed. The verb fails right after it made its files: no context can be made.</summary>
public sealed partial class ReportFileTests : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly string _folder = Directory.CreateTempSubdirectory("efenvelope-report-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_file_that_was_made_for_nothing_goes_again()
    {
        Assert.Equal(1, await RunAsync("new.json"));
        Assert.Empty(Directory.GetFiles(_folder));
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

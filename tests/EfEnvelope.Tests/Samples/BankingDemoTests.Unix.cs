namespace EfEnvelope.Tests.Samples;

/// <summary>What needs signals.</summary>
public sealed partial class BankingDemoTests
{
    /// <summary>On SQLite, whose calls never wait: the signal is heard all the same, after the current batch.</summary>
    [Fact]
    public async Task A_signal_stops_it_and_its_verbs_after_the_current_batch_and_nothing_is_lost()
    {
        var story = await DemoProcess.StopAtAsync("Census before", ["--folder", Folder, "--customers", "1500"]);
        Assert.Equal((4, "Stopped. Nothing is lost: run it again."), (story.ExitCode, story.Error.Trim()));

        const string Coral = "tenant:c3000000-0000-4000-8000-000000000003";
        Assert.Equal(0, (await DemoProcess.RunAsync(["--folder", Folder, "envelope", "rotate", "--scope", Coral])).ExitCode);
        var job = await DemoProcess.StopAtAsync("done", ["--folder", Folder, "envelope", "reencrypt", "--batch-size", "50", "--max-rows-per-second", "100"]);
        Assert.Equal((4, ""), (job.ExitCode, job.Error));
        Assert.Contains("Stopped after the current batch", job.Output, StringComparison.Ordinal);
        Assert.Equal(0L, await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeJobUnits\" WHERE \"State\" = 1"));
        Assert.True(await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeJobUnits\" WHERE \"State\" = 0") > 0, "the job was over before it could be stopped");

        var again = await DemoProcess.RunAsync(["--folder", Folder, "envelope", "reencrypt"]);
        Assert.True(again.ExitCode == 0, again.Output + again.Error);
        Assert.Contains("Proven", again.Output, StringComparison.Ordinal);
        await AssertNoStaleCellAsync(cells: null);
    }
}

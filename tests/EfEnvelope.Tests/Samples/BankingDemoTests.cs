using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Samples;

/// <summary>The demo as a user starts it: it ends with a census without stale keys, and its exit code means something.</summary>
public sealed partial class BankingDemoTests : DemoTests
{
    [Fact]
    public async Task With_nothing_installed_it_ends_with_a_census_without_stale_keys_and_runs_again()
    {
        var run = await DemoProcess.RunAsync(["--folder", Folder]);
        AssertSucceeded(run);
        Assert.Contains("300 customers saved", run.Output, StringComparison.Ordinal);
        Assert.Contains($"{await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"CompromisedAt\" IS NOT NULL")} key(s) seal nothing any more", run.Output, StringComparison.Ordinal);
        Assert.Contains("Completion report: Genuine and proven", run.Output, StringComparison.Ordinal);
        Assert.True(
            run.Output.IndexOf("Plan of the re-encryption", StringComparison.Ordinal) is > 0 and var plan && run.Output.IndexOf("1 worker, as SQLite", StringComparison.Ordinal) is var worker && plan < worker
            && run.Output.IndexOf("Quarantine: empty.", StringComparison.Ordinal) > worker,
            run.Output);
        var report = Assert.Single(Directory.EnumerateFiles(Folder, "completion-report-*.json"));
        var verify = await DemoProcess.RunAsync(["--folder", Folder, "envelope", "verify-report", report]);
        Assert.Equal((0, ""), (verify.ExitCode, verify.Error));
        Assert.Contains(verify.Output.Split('\n')[0].TrimEnd(), run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain('\x1b', run.Output);
        Assert.DoesNotContain('\r', run.Output.ReplaceLineEndings("\n"));
        using (var counted = System.Text.Json.JsonDocument.Parse(await File.ReadAllTextAsync(report)))
        {
            await AssertNoStaleCellAsync(cells: counted.RootElement.GetProperty("census").EnumerateArray().Sum(c => c.GetProperty("cells").GetInt32()));
        }

        Assert.DoesNotContain("Ada Keller", File.ReadAllText(DatabasePath, System.Text.Encoding.Latin1), StringComparison.Ordinal);

        var again = await DemoProcess.RunAsync(["--folder", Folder, "--customers", "5"]);
        AssertSucceeded(again);
        Assert.Contains("the bank has 305", again.Output, StringComparison.Ordinal);
        await AssertNoStaleCellAsync(cells: null);

        var status = await DemoProcess.RunAsync(["--folder", Folder, "envelope", "status"]);
        Assert.Equal((0, ""), (status.ExitCode, status.Error));
        Assert.DoesNotContain('\x1b', status.Output);
    }

    [Fact]
    public async Task A_customer_list_is_imported_as_it_is()
    {
        var path = WriteCsv(
            "Tenant,Number,FullName,Ssn,CreditLimit,BirthDate",
            "a1000000-0000-4000-8000-000000000001,N1,\"Muster, Änne \"\"Anni\"\" 李\",111-11-1111,1234.56,1980-02-29",
            "",
            "9f000000-0000-4000-8000-00000000000f, N2 ,[bold]Bracket[/],222-22-2222,\"1,000\",",
            "b2000000-0000-4000-8000-000000000002,N3,O'Hara,333-33-3333,-5,1900-01-01");
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--customers", "0", "--import", path]);
        AssertSucceeded(run);
        Assert.Contains("3 customers read from list.csv, 0 problem(s)", run.Output, StringComparison.Ordinal);

        // Read by another application over the same column ids and key file.
        await using var context = Open();
        Assert.Equal(
            [
                ("N1", "Muster, Änne \"Anni\" 李", "111-11-1111", 1234.56m, new DateOnly(1980, 2, 29)),
                ("N2", "[bold]Bracket[/]", "222-22-2222", 1000m, null),
                ("N3", "O'Hara", "333-33-3333", -5m, new DateOnly(1900, 1, 1)),
            ],
            (await context.Set<Customer>().AsNoTracking().OrderBy(c => c.Number).ToListAsync()).Select(c => (c.Number, c.FullName, c.Ssn, c.CreditLimit, c.BirthDate)));
    }

    [Fact]
    public async Task Every_bad_line_of_a_list_is_named_and_the_others_are_imported()
    {
        const string Tenant = "a1000000-0000-4000-8000-000000000001";
        var path = WriteCsv(
            "Tenant,Number,FullName,Ssn,CreditLimit,BirthDate",
            $"{Tenant},N1,canary good,111,1,",
            "nobody,N2,canary,222,1,",
            "00000000-0000-0000-0000-000000000000,N3,canary,222,1,",
            $"{Tenant},,canary,222,1,",
            $"{Tenant},N5,canary,222,much,",
            $"{Tenant},N6,canary,222,1,29.02.1980",
            $"{Tenant},N7,canary,222,1",
            $"{Tenant},N8,canary,222,1,,more",
            $"{Tenant},N9,\"canary,222,1,",
            $"{Tenant},N10,canary after,333,1,",
            $"{Tenant},N11,can\"ary,222,1,");
        await File.AppendAllTextAsync(path, $"{Tenant},N12,can\u00fc,222,1,\n", System.Text.Encoding.Latin1);
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--customers", "3", "--import", path]);
        Assert.Equal((2, ""), (run.ExitCode, run.Error));
        foreach (var expected in new[]
        {
            "line 3: Tenant is no Guid", "line 4: Tenant is no Guid", "line 5: Number is empty", "line 6: CreditLimit is no number", "line 7: BirthDate is no date", "line 8: it has 5 fields, the header 6",
            "line 9: it has 7 fields", "line 10: a quote is not closed", "line 12: a quote is not closed", "line 13: the text is not UTF-8", "2 customers read from list.csv, 10 problem(s)",
        })
        {
            Assert.Contains(expected, run.Output, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("line 2:", run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("line 11:", run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(run.Output.Split('\n'), l => l.StartsWith("list.csv", StringComparison.Ordinal) && l.Contains("canary", StringComparison.Ordinal));
        Assert.Contains("No row names a rotated or compromised key.", run.Output, StringComparison.Ordinal);
        await using var context = Open();
        Assert.Equal(["canary after", "canary good"], (await context.Set<Customer>().AsNoTracking().ToListAsync()).Where(c => c.Number[0] == 'N').Select(c => c.FullName).Order());
        Assert.Equal(5, await context.Set<Customer>().CountAsync());
    }

    [Theory]
    [InlineData("", "the file is empty")]
    [InlineData("Tenant;Number;FullName;Ssn;CreditLimit;BirthDate", "the header must name")]
    [InlineData("Tenant,Number,FullName,Ssn,CreditLimit", "the header must name")]
    [InlineData("Tenant,Number,FullName,Ssn,CreditLimit,BirthDate", "line 2: Tenant is no Guid")]
    public async Task A_file_that_is_no_customer_list_says_so_and_nothing_is_made(string header, string says)
    {
        var path = WriteCsv(header, "a,b,c,d,e,f");
        var run = await DemoProcess.RunAsync(["--folder", Folder, "--import", path]);
        Assert.Equal((2, ""), (run.ExitCode, run.Error));
        Assert.Contains(says, run.Output, StringComparison.Ordinal);
        Assert.Equal([path], Directory.EnumerateFiles(Folder));
    }

    [Theory]
    [InlineData("--customers", "-1", "0 to 1,000,000")]
    [InlineData("--customers", "many", "many")]
    [InlineData("--import", "not-there.csv", "not-there.csv")]
    [InlineData("--sqlite", "x", "--sqlite")]
    public async Task Wrong_words_are_refused_and_nothing_is_made(string option, string value, string says)
    {
        var run = await DemoProcess.RunAsync(["--folder", Folder, option, value]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(says, run.Output + run.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(Folder));
    }

    private string WriteCsv(params string[] lines)
    {
        var path = Path.Combine(Folder, "list.csv");
        File.WriteAllText(path, lines is ["", ..] ? "" : string.Join('\n', lines) + "\n");
        return path;
    }
}

using System.Globalization;
using System.Text.Json;
using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Verbs;
using EfEnvelope.Tests.Reencryption;
using Microsoft.EntityFrameworkCore;
using Xunit.Abstractions;

namespace EfEnvelope.Tests.Lifecycle;

/// <summary>
/// Rewrap, rotate and compromise stay distinct, seen from three processes that seal and open all the time (G14): two applications, and this one, which is the operator's. Measured.
/// </summary>
public sealed class ThreeProcessesTests(ITestOutputHelper output)
{
    private const int Rows = 60;
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(150);

    [Theory]
    [InlineData("PostgreSQL")]
    [InlineData("SQLite")]
    public async Task Rewrap_rotate_and_compromise_are_seen_by_three_processes_as_promised(string provider)
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target(Lease);
        await Loader.RunAsync(target, Rows, tenants: 2, ["Item"]);
        var stolen = await ObserveVerb.CellAsync(target, 0);
        var first = await ObserveVerb.KeyOfAsync(target, 0);

        // SQLite has one writer at a time: one application there.
        await using var applicationA = Observe(target, 1_000_000, stolen);
        await using var applicationB = provider == "SQLite" ? null : Observe(target, 2_000_000, stolen);
        ChildProcess[] applications = applicationB is null ? [applicationA] : [applicationA, applicationB];
        foreach (var application in applications)
        {
            await application.LineAsync(l => l.Contains(first.ToString(), StringComparison.Ordinal), Patience);
            await application.LineAsync(l => l.Contains("\"opened\"", StringComparison.Ordinal), Patience);
        }

        // Rewrap touches no row.
        var cells = await CellsAsync(target);
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync(target, "rewrap"));
        Assert.Equal(cells, await CellsAsync(target));

        // Rotate: new writes at once here, within the lease there; no row is touched.
        await using var here = target.CreateContext();
        var keys = new EnvelopeKeys(here);
        var second = (await keys.RotateAsync(EnvelopeScope.Tenant(1), "yearly")).Single(k => k.Purpose == KeyPurpose.Field).Id;
        var rotated = Now();
        Assert.Equal(second, await SealAsync(target, 3_000_000));
        foreach (var application in applications)
        {
            var at = At(await application.LineAsync(l => l.Contains("seals", StringComparison.Ordinal) && l.Contains(second.ToString(), StringComparison.Ordinal), Patience));
            output.WriteLine($"{provider}: rotation taken up by another process after {at - rotated} ms");
        }

        Assert.Equal(cells, await CellsAsync(target));

        // Compromise of both: refused for sealing at once here.
        var reported = await keys.ReportCompromisedAsync(EnvelopeScope.Tenant(1), "laptop stolen");
        var compromised = Now();
        Assert.Contains(reported, k => k.Id == first);
        Assert.Contains(reported, k => k.Id == second);
        var third = await SealAsync(target, 3_000_001);
        Assert.DoesNotContain(third, new[] { first, second });
        Assert.Equal("opened", await ObserveVerb.OpenAsync(target, stolen));

        // The whole response, by another process of the operator's, takes the reported keys up.
        var path = Path.Combine(database.Folder, "exposure.json");
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync(target, "compromise", "--scope", "tenant:1", "--reason", "laptop stolen", "--report", path));
        var revoked = Now();
        using (var exposure = JsonDocument.Parse(await File.ReadAllTextAsync(path)))
        {
            Assert.True(exposure.RootElement.GetProperty("rows")[0].GetProperty("rows").GetInt64() >= Rows / 2);
        }

        var census = await keys.TakeCensusAsync();
        Assert.Equal((0L, 0L), (census.CountOf(first), census.CountOf(second)));
        foreach (var application in applications)
        {
            var at = At(await application.LineAsync(l => l.Contains(nameof(KeyRevokedException), StringComparison.Ordinal), Patience));
            output.WriteLine($"{provider}: revocation refused by another process after {at - revoked} ms");
        }

        await using var cold = database.Target(Lease + TimeSpan.FromMilliseconds(1)).CreateContext();
        await Assert.ThrowsAsync<KeyRevokedException>(() => new EnvelopeProtector(cold).OpenAsync((Item i) => i.First!, stolen));
        foreach (var application in applications)
        {
            application.CloseInput();
            Assert.Equal(0, await application.ExitAsync(Patience));
            var opened = application.Event("lastOpened")!.Value.GetProperty("at").GetInt64();
            Assert.True(opened <= revoked + Lease.TotalMilliseconds, $"The copy was opened by a call that began {opened - revoked} ms after the revocation.");
            foreach (var line in application.Lines.Where(l => l.Contains("\"last\"", StringComparison.Ordinal) && (l.Contains(first.ToString(), StringComparison.Ordinal) || l.Contains(second.ToString(), StringComparison.Ordinal))))
            {
                output.WriteLine($"{provider}: last save sealed by a compromised key began {At(line) - compromised} ms after the report (lease {Lease.TotalMilliseconds} ms)");
                Assert.True(At(line) <= compromised + Lease.TotalMilliseconds, line);
            }
        }

        // Nothing was lost.
        var rows = await cold.Items.AsNoTracking().Where(i => i.Number < Rows).OrderBy(i => i.Number).ToListAsync();
        Assert.Equal(Enumerable.Range(0, Rows).Select(n => Values.Text(n, 0, 'f')), rows.Select(r => r.First));
        Assert.All(await cold.Items.AsNoTracking().Where(i => i.Number >= Rows && i.Number < 3_000_000).ToListAsync(), r => Assert.Equal($"f{r.Number}", r.First));
    }

    private static ChildProcess Observe(Target target, long number, byte[] stolen)
        => ChildProcess.Start("observe", target, ["--tenant", "1", "--first", number.ToString(CultureInfo.InvariantCulture), "--stolen", Convert.ToHexString(stolen)]);

    private static async Task<int> RunAsync(Target target, params string[] verb)
    {
        await using var process = ChildProcess.Start("envelope", target, ["--", .. verb]);
        var code = await process.ExitAsync(Patience);
        Assert.True(code == EnvelopeCommandLine.Proven, process.Output);
        return code;
    }

    private static async Task<Guid> SealAsync(Target target, long number)
    {
        await using var context = target.CreateContext();
        context.Add(new Item { Id = number, Number = number, TenantId = 1, First = "x", Second = "y" });
        await context.SaveChangesAsync();
        return await ObserveVerb.KeyOfAsync(target, number);
    }

    private static async Task<string> CellsAsync(Target target)
    {
        var cells = new List<string>();
        await using var connection = target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT \"First\" FROM \"Items\" WHERE \"Number\" < {Rows} ORDER BY \"Number\"";
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            cells.Add(Convert.ToHexString((byte[])reader.GetValue(0)));
        }

        return string.Join('\n', cells);
    }

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    private static long At(string line)
    {
        using var json = JsonDocument.Parse(line);
        return json.RootElement.GetProperty("at").GetInt64();
    }
}

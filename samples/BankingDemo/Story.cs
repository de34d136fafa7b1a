using System.Globalization;
using BankingDemo.Model;
using EfEnvelope;
using EfEnvelope.Cli;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace BankingDemo;

/// <summary>What the demo shows: seed, look, rotate one tenant, handle a suspected compromise, count.</summary>
internal sealed class Story(DemoOptions options, IAnsiConsole console)
{
    private static readonly (string Name, Guid Id)[] Tenants =
    [
        ("Alpine Bank", Guid.Parse("a1000000-0000-4000-8000-000000000001")),
        ("Baltic Savings", Guid.Parse("b2000000-0000-4000-8000-000000000002")),
        ("Coral Credit", Guid.Parse("c3000000-0000-4000-8000-000000000003")),
    ];

    /// <summary>Small units and batches, so that four workers share even three hundred customers. SQLite has one writer, and one worker.</summary>
    private static readonly ReencryptionOptions Job = new() { CutOffTimeout = TimeSpan.FromSeconds(30), DegreeOfParallelism = 4, UnitSize = 100, BatchSize = 50 };

    public async Task<int> RunAsync(CancellationToken cancellationToken)
    {
        console.Write(new Rule("[bold]EfEnvelope banking demo[/]"));
        var (imported, problems) = options.Import is { } path ? ReadList(path) : ([], 0);
        if (problems > 0 && imported.Count == 0)
        {
            return EnvelopeCommandLine.BadInput;
        }

        await using (var context = options.CreateContext())
        {
            await context.Database.MigrateAsync(cancellationToken);
        }

        await SeedAsync(imported, cancellationToken);
        await LookAsync(cancellationToken);
        await CensusAsync("Census before", cancellationToken);
        var rotated = await RotateAsync(Tenants[0], cancellationToken);
        var compromised = await CompromiseAsync(Tenants[1], cancellationToken);
        var census = await CensusAsync("Census after", cancellationToken);
        if (!rotated || !compromised || census.StaleCells > 0)
        {
            console.MarkupLine($"[red]{census.StaleCells} cell(s) still name a rotated or compromised key.[/]");
            return EnvelopeCommandLine.Failed;
        }

        console.MarkupLine("[green]No row names a rotated or compromised key.[/]");
        return problems > 0 ? EnvelopeCommandLine.BadInput : EnvelopeCommandLine.Proven;
    }

    /// <summary>A list without one good line is no list of customers: nothing is begun then.</summary>
    private (List<Customer> Customers, int Problems) ReadList(string path)
    {
        var (customers, errors) = CustomerImport.Read(path);
        foreach (var error in errors)
        {
            console.MarkupLineInterpolated($"[yellow]{Path.GetFileName(path)}, {error}[/]");
        }

        console.MarkupLineInterpolated($"{customers.Count} customers read from {Path.GetFileName(path)}, {errors.Count} problem(s).");
        return (customers, errors.Count);
    }

    private async Task SeedAsync(List<Customer> imported, CancellationToken cancellationToken)
    {
        await using var context = options.CreateContext();
        var customers = new List<Customer>(imported);
        var start = await context.Customers.CountAsync(cancellationToken);
        for (var n = 0; n < options.Customers; n++)
        {
            customers.Add(Invent(start + n));
        }

        foreach (var batch in customers.Chunk(500))
        {
            context.Customers.AddRange(batch);
            await context.SaveChangesAsync(cancellationToken);
            context.Cards.AddRange(batch.Where((_, i) => i % 4 == 0).Select(c => new PaymentCard { TenantId = c.TenantId, CustomerId = c.Id, Pan = $"4111 1111 1111 {c.Id % 10000:0000}" }));
            context.Transfers.AddRange(batch.Zip(batch.Skip(1)).Where((_, i) => i % 10 == 0).Select(p => new Transfer
            {
                FromAccountId = p.First.Accounts.FirstOrDefault()?.Id ?? 0,
                ToAccountId = p.Second.Accounts.FirstOrDefault()?.Id ?? 0,
                Amount = 25,
                Message = $"Rent of {p.First.Number}",
            }));
            await context.SaveChangesAsync(cancellationToken);
            context.ChangeTracker.Clear();
        }

        console.MarkupLineInterpolated($"{customers.Count} customers saved by an ordinary SaveChanges; the bank has {start + customers.Count}.");
    }

    private async Task LookAsync(CancellationToken cancellationToken)
    {
        await using var context = options.CreateContext();
        var customers = await context.Customers.OrderBy(c => c.Id).Take(3).ToListAsync(cancellationToken);
        var table = new Table().RoundedBorder().Title("Customers: what the application sees, and what the column holds").AddColumns("Property", "Application", "Column (its [yellow]key id[/] stands in the header)");
        foreach (var customer in customers)
        {
            table.AddRow("FullName", Markup.Escape(customer.FullName), await CellAsync(context, "FullName", customer.Id, cancellationToken));
            table.AddRow("Ssn", Markup.Escape(customer.Ssn), await CellAsync(context, "Ssn", customer.Id, cancellationToken));
            table.AddRow("CreditLimit", customer.CreditLimit.ToString(CultureInfo.InvariantCulture), await CellAsync(context, "CreditLimit", customer.Id, cancellationToken));
        }

        console.Write(table);
    }

    /// <summary>Reads the column as anybody with a database login would.</summary>
    private static async Task<string> CellAsync(BankContext context, string column, int id, CancellationToken cancellationToken)
    {
        var connection = context.Database.GetDbConnection();
        await context.Database.OpenConnectionAsync(cancellationToken);
        try
        {
            await using var command = connection.CreateCommand();
            command.CommandText = $"SELECT \"{column}\" FROM \"Customers\" WHERE \"Id\" = {id.ToString(CultureInfo.InvariantCulture)}";
            var hex = Convert.ToHexStringLower((byte[])(await command.ExecuteScalarAsync(cancellationToken))!);
            // Short enough for a terminal of 80 columns.
            return $"{hex[..6]}[yellow]{hex[6..38]}[/]{hex[38..42]}...";
        }
        finally
        {
            await context.Database.CloseConnectionAsync();
        }
    }

    private async Task<bool> RotateAsync((string Name, Guid Id) tenant, CancellationToken cancellationToken)
    {
        console.Write(new Rule(Markup.Escape($"Rotating the data key of {tenant.Name}")));
        await using var context = options.CreateContext();
        var keys = new EnvelopeKeys(context);
        foreach (var key in await keys.RotateAsync(EnvelopeScope.Tenant(tenant.Id), "yearly rotation", cancellationToken))
        {
            console.MarkupLineInterpolated($"{key.Purpose} key v{key.Version} [yellow]{key.Id:N}[/] is active: new writes use it.");
        }

        return await ReencryptAsync(keys, cancellationToken);
    }

    private async Task<bool> CompromiseAsync((string Name, Guid Id) tenant, CancellationToken cancellationToken)
    {
        console.Write(new Rule(Markup.Escape($"{tenant.Name} reports a stolen backup")));
        await using var context = options.CreateContext();
        var keys = new EnvelopeKeys(context);
        CompromiseReport? response = null;
        var compromise = new CompromiseOptions { Reencryption = Job };
        await ProgressDisplay.RunAsync(console, async progress =>
        {
            response = await keys.CompromiseAsync(KeySelection.Scope(EnvelopeScope.Tenant(tenant.Id)), "stolen backup", compromise, progress, cancellationToken);
            return response.Reencryption;
        });
        var (exposure, reencryption) = (response!.Exposure, response.Reencryption);
        console.MarkupLineInterpolated($"{exposure.Keys.Count + exposure.RowKeys} key(s) seal nothing any more; a new key took over. Exposed: {exposure.TotalRows} rows in {exposure.Rows.Select(r => r.Table).Distinct().Count()} tables.");
        Tell(reencryption);
        console.MarkupLineInterpolated($"{response.Revoked} key(s) are revoked: a copy of an old cell no longer opens.{(response.IsComplete ? "" : $" Not complete: {response.OpenBecause}.")}");

        // What an auditor does later with the file, on this or another machine: `envelope verify-report FILE`.
        var verified = await keys.VerifyReportAsync(reencryption.Completion.ToJson(), cancellationToken);
        console.MarkupLineInterpolated($"Completion report: {verified.ToText()}");
        return response.IsComplete && verified.Report is { IsProven: true };
    }

    /// <summary>The whole course of a job: its plan, its run, what it left in quarantine, its report, and what an auditor does with that.</summary>
    private async Task<bool> ReencryptAsync(EnvelopeKeys keys, CancellationToken cancellationToken)
    {
        Show(await keys.PlanReencryptionAsync(Job, cancellationToken));
        console.MarkupLineInterpolated($"{(options.Postgres is null ? "1 worker, as SQLite has one writer" : $"{Job.DegreeOfParallelism} workers")}; the application could go on meanwhile.");
        var report = await ProgressDisplay.RunAsync(console, progress => keys.ReencryptAsync(Job, progress, cancellationToken));
        Tell(report);
        var quarantine = await keys.ListQuarantineAsync(cancellationToken: cancellationToken);
        console.MarkupLineInterpolated($"Quarantine: {(quarantine.Count == 0 ? "empty" : $"{quarantine.Count} cell(s) that do not open, see `envelope quarantine list`")}.");

        var path = Path.Combine(options.Folder, $"completion-report-{report.Completion.FinishedAt:yyyyMMddHHmmssfff}.json");
        await File.WriteAllTextAsync(path, report.Completion.ToJson() + "\n", cancellationToken);
        console.MarkupLineInterpolated($"Written: {path}. An auditor checks it with `envelope verify-report`:");
        var verified = await EnvelopeCommandLine.RunAsync(["verify-report", path], options.CreateContext, console, cancellationToken);
        return report.IsProven && quarantine.Count == 0 && verified == EnvelopeCommandLine.Proven;
    }

    private void Show(ReencryptionPlan plan)
    {
        var table = new Table().RoundedBorder().Title("Plan of the re-encryption").AddColumns("Why", "Keys of", "Key", "State", "Cells");
        foreach (var key in plan.Keys)
        {
            table.AddRow(key.Reason.ToString(), Markup.Escape(Owner(key.Scope)), key.Id.ToString("N")[..12], key.State.ToString(), key.Cells.ToString(CultureInfo.InvariantCulture));
        }

        if (plan.RowKeys > 0)
        {
            table.AddRow("under a retired kek", "single rows", string.Create(CultureInfo.InvariantCulture, $"{plan.RowKeys} keys"), "", "");
        }

        console.Write(table);
        foreach (var rows in plan.Tables)
        {
            console.MarkupLineInterpolated($"{rows.Table}: {rows.Rows} rows, {rows.Bytes} bytes of cells in {string.Join(", ", rows.Columns)}.");
        }

        console.MarkupLineInterpolated($"{plan.Rows} rows in {plan.Units} units, {plan.KeyServiceCalls} calls of the key service; {plan.Census.ToText()}.");
    }

    private void Tell(ReencryptionReport report)
        => console.MarkupLineInterpolated($"{report.Rows} rows re-encrypted in {report.Elapsed.TotalSeconds:0.0} s, {report.Conflicts} conflicts, {report.Quarantined} quarantined; {(report.IsProven ? "proven by the census" : $"not proven: {report.NotProvenBecause}")}.");

    private async Task<EnvelopeCensus> CensusAsync(string title, CancellationToken cancellationToken)
    {
        await using var context = options.CreateContext();
        var keys = new EnvelopeKeys(context);
        var census = await keys.TakeCensusAsync(cancellationToken);
        var table = new Table().RoundedBorder().Title(title).AddColumns("Table", "Keys of", "State", "Keys", "Cells");
        foreach (var group in census.Entries.GroupBy(e => (e.Table, Owner: Owner(e.Scope), e.State)).OrderBy(g => g.Key.Table, StringComparer.Ordinal).ThenBy(g => g.Key.Owner, StringComparer.Ordinal))
        {
            table.AddRow(
                group.Key.Table, Markup.Escape(group.Key.Owner), group.Key.State?.ToString() ?? "unknown",
                group.GroupBy(e => e.Column).Max(c => c.Sum(e => e.Keys)).ToString(CultureInfo.InvariantCulture), group.Sum(e => e.Cells).ToString(CultureInfo.InvariantCulture));
        }

        console.Write(table);
        return census;
    }

    private static string Owner(string? scope)
    {
        var row = scope?.StartsWith("row:", StringComparison.Ordinal) == true;
        var name = Tenants.FirstOrDefault(t => scope?.EndsWith(t.Id.ToString("D"), StringComparison.Ordinal) == true).Name ?? scope ?? "?";
        return row ? $"rows of {name}" : name;
    }

    private static Customer Invent(int n)
    {
        string[] first = ["Ada", "Grace", "Edsger", "Barbara", "Alan", "Katherine", "Donald", "Radia"];
        string[] last = ["Keller", "Novak", "Rossi", "Dubois", "Jansen", "Moreau", "Weber", "Silva"];
        var tenant = Tenants[n % Tenants.Length].Id;
        return new Customer
        {
            TenantId = tenant,
            Number = string.Create(CultureInfo.InvariantCulture, $"C{n:000000}"),
            FullName = $"{first[n % 8]} {last[n / 8 % 8]}",
            Ssn = string.Create(CultureInfo.InvariantCulture, $"{(n % 899) + 1:000}-{n % 99:00}-{n % 10000:0000}"),
            CreditLimit = 1000 + (n % 50 * 100),
            BirthDate = n % 9 == 0 ? null : new DateOnly(1950, 1, 1).AddDays(n * 37 % 18000),
            Accounts = [new Account { TenantId = tenant, Iban = string.Create(CultureInfo.InvariantCulture, $"CH93 0076 2011 {n:0000 0000}"), Balance = 100 + n }],
        };
    }
}

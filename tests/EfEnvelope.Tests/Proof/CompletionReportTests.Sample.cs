using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using EfEnvelope.Tests.Reencryption;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Proof;

/// <summary>The sample of cells that is opened.</summary>
public abstract partial class CompletionReportTests
{
    [Fact]
    public async Task The_sample_finds_a_broken_cell_under_the_new_key()
    {
        await using var context = New();
        await SeedAsync(context, 4, 2);
        await RetireAsync(context);
        var broken = await CellAsync("b0");
        broken[^1] ^= 1;
        await PlantAsync(broken);
        var moved = await CellAsync("b1");
        await PlantAsync(moved, "b2");
        var report = await new EnvelopeKeys(context).ReportCensusAsync();

        // Of the four cells one is broken; another tenant's cell opens as itself: rows are checked by readers, not by the sample.
        var failure = Assert.Single(report.SampleFailures);
        Assert.Equal(("Customers", "FullName", nameof(EnvelopeRefusedException)), (failure.Table, failure.Column, failure.Error));
        Assert.Equal(await KeyOfCellAsync("b0"), failure.KeyId);
        Assert.Contains(report.Sample, s => s is { Table: "Customers", Column: "FullName", Sampled: 4, Opened: 3 });
        Assert.Contains("sampled cell(s) did not open", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.False(report.IsProven);
        Assert.Contains("FAILED: Customers.FullName", report.ToText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Row_bound_cells_armour_and_documents_are_opened_too_and_plaintext_is_no_envelope()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        context.Add(new Ledger { Code = "L", Year = 2026, Balance = 12.5m });
        context.Add(new Ledger { Code = "L", Year = 2027, Balance = 13.5m });
        await context.SaveChangesAsync();
        var report = await new EnvelopeKeys(context).ReportCensusAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Contains(report.Sample, s => s is { Table: "Ledgers", Column: "Balance", Sampled: 2, Opened: 2 });

        await Database.ExecuteAsync("UPDATE \"Ledgers\" SET \"Balance\" = (SELECT l.\"Balance\" FROM \"Ledgers\" AS l WHERE l.\"Year\" = 2026)");
        await Database.ExecuteAsync("UPDATE \"Customers\" SET \"Note\" = 'in the clear' WHERE \"Branch\" = 'b0'");
        report = await new EnvelopeKeys(context).ReportCensusAsync();
        Assert.Equal(["Note", "Balance"], report.SampleFailures.Select(f => f.Column));
        Assert.Null(report.SampleFailures[0].KeyId);
        Assert.Contains("NOTE: 1 cell(s) are no envelopes", report.ToText(), StringComparison.Ordinal);
        Assert.Contains(report.Census, c => c is { Column: "Note", KeyId: null, Scope: null, Keys: 0, Cells: 1 });
    }

    [Fact]
    public async Task Cells_of_an_erased_scope_are_no_failure()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        await new EnvelopeKeys(context).EraseAsync(ScopeA, "asked for");
        var report = await new EnvelopeKeys(context).ReportCensusAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Contains(report.Sample, s => s is { Column: "FullName", Sampled: 4, Opened: 2, Erased: 2 });
    }
}

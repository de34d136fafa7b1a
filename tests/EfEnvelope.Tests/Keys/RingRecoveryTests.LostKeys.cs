using System.IO.Pipelines;
using System.Text;
using System.Text.Json.Nodes;
using EfEnvelope.Cli;
using EfEnvelope.Cryptography;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;
using Spectre.Console;

namespace EfEnvelope.Tests.Keys;

/// <summary>Keys whose rows were lost since the export.</summary>
public abstract partial class RingRecoveryTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_lost_key_that_was_rotated_or_reported_since_the_export_seals_no_more(bool isCompromised)
    {
        await using var process = new RingProcess(_database, _kms);
        var lost = await process.SealAsync("tenant:x");
        var document = await ExportAsync();
        if (isCompromised)
        {
            await process.CompromiseAsync(lost);
        }
        else
        {
            await process.RotateAsync("tenant:x");
        }

        var newer = await process.SealAsync("tenant:x");
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x' AND \"Version\" = 1");
        await using var context = Cold();
        Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Added);
        Assert.Equal(KeyState.Deactivated, (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Id == lost).State);

        // The process knows a later state of that row than the export.
        Assert.Equal(lost, await process.OpenAsync(lost));
        await process.CompromiseAsync(newer);
        await using var later = new RingProcess(_database, _kms);
        Assert.DoesNotContain(await later.SealAsync("tenant:x"), new[] { lost, newer });
        Assert.Equal(0, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Changed);
    }

    [Fact]
    public async Task Of_two_lost_versions_none_takes_the_place_of_the_key_that_was_made_since()
    {
        await using var process = new RingProcess(_database, _kms);
        var first = await process.SealAsync("tenant:x");
        await process.RotateAsync("tenant:x");
        var second = await process.SealAsync("tenant:x");
        var document = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x'");
        await using var after = new RingProcess(_database, _kms);
        var made = await after.SealAsync("tenant:x");
        await using var context = Cold();
        Assert.Equal(2, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Added);
        await using var later = new RingProcess(_database, _kms);
        Assert.Equal(made, await later.SealAsync("tenant:x"));
        Assert.Equal((first, second), (await later.OpenAsync(first), await later.OpenAsync(second)));
        Assert.Equal([made], (await new EnvelopeKeys(context).ListAsync()).Where(k => k is { Scope: "tenant:x", State: KeyState.Active }).Select(k => k.Id));
    }

    [Fact]
    public async Task The_newest_version_of_a_scope_that_was_lost_seals_again()
    {
        await using var process = new RingProcess(_database, _kms);
        var first = await process.SealAsync("tenant:x");
        await process.RotateAsync("tenant:x");
        var second = await process.SealAsync("tenant:x");
        var document = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x' AND \"Version\" = 2");
        await using var context = Cold();
        Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Added);
        await using var later = new RingProcess(_database, _kms);
        Assert.Equal(second, await later.SealAsync("tenant:x"));
        Assert.Equal(first, await later.OpenAsync(first));
    }
}

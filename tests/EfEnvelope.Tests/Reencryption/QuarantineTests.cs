using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Load;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteQuarantineTests() : QuarantineTests("SQLite");

public sealed class PostgresQuarantineTests() : QuarantineTests("PostgreSQL");

/// <summary>Cells that do not open: listed, tried again, released; never a way to a proof.</summary>
public abstract class QuarantineTests(string provider) : IAsyncLifetime
{
    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
        await Loader.RunAsync(_target, 20, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_listed_cell_that_was_restored_is_moved_by_a_retry_and_the_others_stay_with_their_reason()
    {
        var whole = await PoisonAsync(3);
        await PoisonAsync(4);
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        var report = await keys.ReencryptAsync(JobFaultTests.Small);
        Assert.Equal((2L, false), (report.Quarantined, report.IsProven));
        var listed = await keys.ListQuarantineAsync();
        Assert.Equal(["[3]", "[4]"], listed.Select(c => c.PrimaryKey));
        Assert.All(listed, c => Assert.Equal(("Items", "First", nameof(EnvelopeRefusedException), report.JobId), (c.Table, c.Column, c.Reason, c.JobId)));
        Assert.All(listed, c => Assert.Contains(c.KeyId!.Value, report.StaleKeys));
        Assert.Equal(EnvelopeCommandLine.Quarantined, await RunAsync("quarantine", "list"));

        await WriteAsync(3, whole);
        var retried = await keys.RetryQuarantineAsync();

        Assert.Equal((1, 0, 1), (retried.Moved, retried.Gone, retried.Kept.Count));
        Assert.Equal("[4]", Assert.Single(await keys.ListQuarantineAsync()).PrimaryKey);
        Assert.NotEqual(whole, await CellAsync(3));
        Assert.Equal(Values.Text(3, 0, 'f'), (await context.Items.AsNoTracking().SingleAsync(i => i.Number == 3)).First);
        Assert.Equal(1, (await keys.TakeCensusAsync()).StaleCells);
    }

    [Fact]
    public async Task What_the_application_rewrote_or_deleted_leaves_the_list_by_itself()
    {
        await PoisonAsync(3);
        await PoisonAsync(4);
        await PoisonAsync(5);
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        await keys.ReencryptAsync(JobFaultTests.Small);
        await context.Items.Where(i => i.TenantId == Values.Tenant(3, 2) && i.Number == 3).ExecuteUpdateAsync(set => set.SetProperty(i => i.First, "healed"));
        await context.Items.Where(i => i.Number == 4).ExecuteDeleteAsync();

        var retried = await keys.RetryQuarantineAsync();
        Assert.Equal((0, 2, 1), (retried.Moved, retried.Gone, retried.Kept.Count));

        await context.Items.Where(i => i.Number == 5).ExecuteDeleteAsync();
        var report = await keys.ReencryptAsync(JobFaultTests.Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Empty(await keys.ListQuarantineAsync());
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("quarantine", "list"));
    }

    [Fact]
    public async Task A_released_cell_is_off_the_list_and_still_stands_in_the_way_of_every_proof()
    {
        await PoisonAsync(3);
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        var report = await keys.ReencryptAsync(JobFaultTests.Small);
        var cell = Assert.Single(await keys.ListQuarantineAsync());

        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("quarantine", "release", "--id", $"{Guid.NewGuid()}", "--reason", "nobody knows it"));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.ReleaseQuarantineAsync([cell.Id], " "));
        Assert.Single(await keys.ListQuarantineAsync());
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("quarantine", "release", "--id", $"{cell.Id}", "--reason", "the row is lost"));

        Assert.Empty(await keys.ListQuarantineAsync());
        var again = await keys.ReencryptAsync(JobFaultTests.Small);
        Assert.Equal((1L, false, 1L), (again.Quarantined, again.IsProven, again.Census.StaleCells));
        Assert.Empty(await keys.ListQuarantineAsync());
        await Assert.ThrowsAnyAsync<EnvelopeEncryptionException>(() => keys.RevokeAsync(cell.KeyId!.Value));
        Assert.Contains(cell.KeyId!.Value, report.StaleKeys);
    }

    /// <summary>Flips a bit of the cell's tag.</summary>
    private async Task<byte[]> PoisonAsync(long number)
    {
        var cell = await CellAsync(number);
        await WriteAsync(number, [.. cell[..^1], (byte)(cell[^1] ^ 1)]);
        return cell;
    }

    private Task<int> RunAsync(params string[] verb) => EnvelopeCommandLine.RunAsync(verb, () => _target.CreateContext());

    private async Task<byte[]> CellAsync(long number)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT \"First\" FROM \"Items\" WHERE \"Number\" = {number}";
        return (byte[])(await command.ExecuteScalarAsync())!;
    }

    private async Task WriteAsync(long number, byte[] cell)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"UPDATE \"Items\" SET \"First\" = {(provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(cell)}'::bytea" : $"x'{Convert.ToHexString(cell)}'")} WHERE \"Number\" = {number}";
        await command.ExecuteNonQueryAsync();
    }
}

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

public sealed class SqliteRingRecoveryTests() : RingRecoveryTests("SQLite");

public sealed class PostgresRingRecoveryTests() : RingRecoveryTests("PostgreSQL");

/// <summary>Export and import of the wrapped ring.</summary>
public abstract partial class RingRecoveryTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await CreateAsync();
        await using var context = Cold();
        context.Add(new Customer { TenantId = TenantA, FullName = "a", Ssn = "s" });
        context.Add(new PaymentCard { TenantId = TenantA, Number = "card" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_lost_ring_comes_back_whole()
    {
        var document = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeRing\"");
        await using var context = Cold();
        Assert.Equal(new KeyRingImport(3, 0, 1), await new EnvelopeKeys(context).ImportAsync(Stream(document)));
        Assert.Equal("a", (await context.Customers.SingleAsync()).FullName);
        Assert.Equal("card", (await context.Cards.SingleAsync()).Number);
        context.Add(new Customer { TenantId = TenantA, FullName = "again", Ssn = "s" });
        await context.SaveChangesAsync();
        Assert.Equal(1, (await new EnvelopeKeys(context).ListAsync()).Count(k => k.Scope == $"tenant:{TenantA}" && k.Purpose == KeyPurpose.Field));
        Assert.Equal(new KeyRingImport(0, 0, 4), await new EnvelopeKeys(context).ImportAsync(Stream(document)));
    }

    [Fact]
    public async Task It_goes_into_a_ring_that_has_no_key_yet_and_into_no_other()
    {
        var document = await ExportAsync();
        await using var empty = await CreateAsync();
        await empty.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        await using (var context = Cold(empty))
        {
            Assert.Equal(3, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Added);
            Assert.Contains(await new EnvelopeKeys(context).ListAsync(), k => k.Scope == $"tenant:{TenantA}");
        }

        await using var other = await CreateAsync();
        await using (var context = Cold(other))
        {
            context.Add(new Customer { TenantId = TenantB, FullName = "other", Ssn = "s" });
            await context.SaveChangesAsync();
            var before = await RingAsync(other);
            await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(context).ImportAsync(Stream(document)));
            Assert.Equal(before, await RingAsync(other));
            Assert.Equal("other", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
        }
    }

    [Fact]
    public async Task Compromised_revoked_and_destroyed_keys_stay_so()
    {
        var document = await ExportAsync();
        await using var process = new RingProcess(_database, _kms);
        var first = await process.SealAsync("tenant:1");
        var second = await process.SealAsync("tenant:2");
        var third = await process.SealAsync("tenant:3");
        document = await ExportAsync();
        await process.CompromiseAsync(first);
        await process.CompromiseAsync(second);
        await process.ChangeAsync(second, KeyState.Revoked);
        await process.CompromiseAsync(third);
        await process.ChangeAsync(third, KeyState.Destroyed);
        var before = await process.Ring.ListAsync(includeRowKeys: true, process.Store, default);

        await using var context = Cold();
        Assert.Equal(0, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Changed);
        await using var later = new RingProcess(_database, _kms);
        var after = (await later.Ring.ListAsync(includeRowKeys: true, later.Store, default)).ToDictionary(e => e.Id);
        Assert.Equal((KeyState.Compromised, KeyState.Revoked, KeyState.Destroyed), (after[first].State, after[second].State, after[third].State));
        Assert.Empty(after[third].Wrapped);
        Assert.Equal(before.Count, after.Count);
        Assert.NotEqual(first, await later.SealAsync("tenant:1"));
        await Assert.ThrowsAsync<KeyDestroyedException>(() => later.OpenAsync(third));
    }

    [Fact]
    public async Task After_a_restore_of_an_older_database_what_was_erased_and_compromised_is_so_again()
    {
        await using var process = new RingProcess(_database, _kms);
        var erased = await process.SealAsync("tenant:erased");
        var compromised = await process.SealAsync("tenant:compromised");
        var rows = await RowsAsync(erased, compromised);
        await process.CompromiseAsync(compromised);
        await process.CompromiseAsync(erased);
        await process.ChangeAsync(erased, KeyState.Destroyed);
        var document = await ExportAsync();
        await RestoreAsync(rows);
        await using (var restored = new RingProcess(_database, _kms))
        {
            Assert.Equal(erased, await restored.OpenAsync(erased));
        }

        await using var context = Cold();
        Assert.Equal(2, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Changed);
        await using var later = new RingProcess(_database, _kms);
        await Assert.ThrowsAsync<KeyDestroyedException>(() => later.OpenAsync(erased));
        Assert.NotEqual(compromised, await later.SealAsync("tenant:compromised"));
        Assert.Equal(compromised, await later.OpenAsync(compromised));
    }

    [Fact]
    public async Task Keys_that_were_made_anew_after_a_loss_stay_and_the_lost_ones_open_again()
    {
        await using var process = new RingProcess(_database, _kms);
        var lost = await process.SealAsync("tenant:x");
        var document = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x'");
        await using var after = new RingProcess(_database, _kms);
        var made = await after.SealAsync("tenant:x");
        Assert.NotEqual(lost, made);
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => after.OpenAsync(lost));
        await using var context = Cold();
        Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Added);
        await using var later = new RingProcess(_database, _kms);
        Assert.Equal(made, await later.SealAsync("tenant:x"));
        Assert.Equal(lost, await later.OpenAsync(lost));
        Assert.Equal(made, await later.OpenAsync(made));
    }

    [Fact]
    public async Task A_key_that_is_compromised_while_the_ring_is_exported_is_so_in_the_document()
    {
        await using var process = new RingProcess(_database, _kms);
        var key = await process.SealAsync("tenant:x");
        var isCompromised = false;
        await using var target = new WatchedStream(async text =>
        {
            if (!isCompromised && text.Contains("tenant:x", StringComparison.Ordinal))
            {
                isCompromised = true;
                await process.CompromiseAsync(key);
            }
        });
        await using (var context = Cold())
        {
            await new EnvelopeKeys(context).ExportAsync(target);
        }

        var document = Encoding.UTF8.GetString(target.ToArray());
        Assert.Equal([(int)KeyState.Active, (int)KeyState.Compromised], Lines(document).Where(l => l["id"]?.GetValue<Guid>() == key).Select(l => l["state"]!.GetValue<int>()));
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        await using (var context = Cold())
        {
            Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Changed);
        }

        await using var later = new RingProcess(_database, _kms);
        Assert.NotEqual(key, await later.SealAsync("tenant:x"));
    }

    [Fact]
    public async Task A_ring_whose_mac_key_is_lost_is_not_exported()
    {
        await using var context = Cold();
        await context.Customers.AsNoTracking().SingleAsync();
        await _database.ExecuteAsync($"DELETE FROM \"EnvelopeKeys\" WHERE \"Purpose\" = {(int)KeyPurpose.Mac}");
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).ExportAsync(new MemoryStream()));
    }

    [Fact]
    public async Task A_row_that_was_tampered_with_opens_again_but_seals_no_more()
    {
        await using var process = new RingProcess(_database, _kms);
        var key = await process.SealAsync("tenant:x");
        var document = await ExportAsync();
        await _database.ExecuteAsync("UPDATE \"EnvelopeKeys\" SET \"CreatedAt\" = 1 WHERE \"Scope\" = 'tenant:x'");
        await using (var context = Cold())
        {
            Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Changed);
        }

        await using var later = new RingProcess(_database, _kms);
        Assert.Equal(key, await later.OpenAsync(key));
        Assert.NotEqual(key, await later.SealAsync("tenant:x"));
    }

    [Fact]
    public async Task The_mac_keys_row_that_was_tampered_with_serves_again()
    {
        await using var process = new RingProcess(_database, _kms);
        var key = await process.SealAsync("tenant:x");
        var document = await ExportAsync();
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"CreatedAt\" = 1 WHERE \"Purpose\" = {(int)KeyPurpose.Mac}");
        await using (var context = Cold())
        {
            Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Changed);
        }

        await using var later = new RingProcess(_database, _kms);
        Assert.Equal(key, await later.SealAsync("tenant:x"));
    }

    /// <summary>Whoever writes to the table without the key service would else have the repair itself end any key for good.</summary>
    [Theory]
    [InlineData(KeyState.Destroyed, false)]
    [InlineData(KeyState.Destroyed, true)]
    [InlineData(KeyState.Revoked, false)]
    [InlineData(KeyState.PendingDestruction, false)]
    public async Task A_forged_end_of_a_key_is_not_signed_by_an_import(KeyState end, bool isEmptied)
    {
        await using var process = new RingProcess(_database, _kms);
        var (key, other) = (await process.SealAsync("tenant:x"), await process.SealAsync("tenant:y"));
        var document = await ExportAsync();
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"State\" = {(int)end}{(isEmptied ? $", \"Wrapped\" = {(provider == "PostgreSQL" ? "''" : "x''")}" : "")} WHERE \"Scope\" = 'tenant:x'");
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:y'");
        await using (var context = Cold())
        {
            var error = await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).ImportAsync(Stream(document)));
            Assert.Equal(key, error.KeyId);
            Assert.Contains("delete those rows", error.Message, StringComparison.Ordinal);
        }

        // The rest is there, and the row as it was: it opens nothing.
        await using (var cold = new RingProcess(_database, _kms))
        {
            Assert.Equal(other, await cold.OpenAsync(other));
            await Assert.ThrowsAsync<KeyRingTamperedException>(() => cold.OpenAsync(key));
        }

        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = 'tenant:x'");
        await using (var context = Cold())
        {
            Assert.Equal(1, (await new EnvelopeKeys(context).ImportAsync(Stream(document))).Added);
        }

        await using var later = new RingProcess(_database, _kms);
        Assert.Equal(key, await later.OpenAsync(key));
    }

    [Fact]
    public async Task The_verbs_do_the_same_and_keep_a_file_that_is_there()
    {
        var path = Path.Combine(Path.GetTempPath(), $"efenvelope-ring-{Guid.NewGuid():N}.json");
        try
        {
            Assert.Equal(EnvelopeCommandLine.Proven, await EnvelopeCommandLine.RunAsync(["export", "--file", path], () => Cold(), Console()));
            if (!OperatingSystem.IsWindows())
            {
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            }

            Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["export", "--file", path], () => Cold(), Console()));
            await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
            Assert.Equal(EnvelopeCommandLine.Proven, await EnvelopeCommandLine.RunAsync(["import", "--file", path], () => Cold(), Console()));
            await using var context = Cold();
            Assert.Equal("card", (await context.Cards.SingleAsync()).Number);
            Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["import", "--file", path + ".none"], () => Cold(), Console()));
            Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["import"], () => Cold(), Console()));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static IAnsiConsole Console() => AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(TextWriter.Null) });

    private static List<JsonObject> Lines(string document) => [.. document.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonNode.Parse(l)!.AsObject())];

    private static JsonObject Row(List<JsonObject> document) => document.First(l => l["scope"]?.GetValue<string>().StartsWith("tenant:", StringComparison.Ordinal) == true);

    private static MemoryStream Stream(string text) => new(Encoding.UTF8.GetBytes(text));

    private async Task<TestDatabase> CreateAsync()
    {
        var database = await TestDatabase.CreateAsync(provider);
        database.KeyService = _kms;
        await using var context = Cold(database);
        await context.Database.EnsureCreatedAsync();
        return database;
    }

    private BankContext Cold(TestDatabase? database = null)
    {
        var clock = new FakeTimeProvider();
        return new BankContext((database ?? _database).Options(e => e.UseTimeProvider(clock)));
    }

    private async Task<string> ExportAsync()
    {
        await using var context = Cold();
        using var target = new MemoryStream();
        Assert.True(await new EnvelopeKeys(context).ExportAsync(target) >= 4);
        return Encoding.UTF8.GetString(target.ToArray());
    }

    private static async Task<(string?, long)> RingAsync(TestDatabase database)
        => ((await database.ScalarAsync("SELECT CAST(\"RingId\" AS TEXT) FROM \"EnvelopeRing\""))?.ToString(), Convert.ToInt64(await database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\"")));

    /// <summary>Rows of the ring as a backup of the database holds them.</summary>
    private async Task<List<KeyRingEntry>> RowsAsync(params Guid[] ids)
    {
        await using var process = new RingProcess(_database, _kms);
        return [.. await process.Store.FindByIdAsync(ids, default)];
    }

    private async Task RestoreAsync(List<KeyRingEntry> rows)
    {
        await using var process = new RingProcess(_database, _kms);
        foreach (var row in rows)
        {
            await _database.ExecuteAsync($"DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = '{row.Scope}'");
            Assert.Equal(1, await process.Store.TryInsertAsync([row], default));
        }
    }

    /// <summary>Tells what is written, before it is.</summary>
    private sealed class WatchedStream(Func<string, Task> written) : MemoryStream
    {
        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await written(Encoding.UTF8.GetString(buffer.Span));
            await base.WriteAsync(buffer, cancellationToken);
        }
    }

    /// <summary>Shows other bytes from the second reading on.</summary>
    private sealed class SecondRead(byte[] first, byte[] second) : MemoryStream(first, writable: true)
    {
        public override long Position
        {
            get => base.Position;
            set
            {
                base.Position = 0;
                Write(second);
                SetLength(second.Length);
                base.Position = value;
            }
        }
    }
}

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

/// <summary>The document: changed, truncated, foreign, long.</summary>
public abstract partial class RingRecoveryTests
{
    [Fact]
    public async Task A_changed_document_is_refused_and_nothing_is_written()
    {
        var text = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        var before = await RingAsync(_database);
        var changes = new (string What, Action<List<JsonObject>> Change)[]
        {
            ("a state", d => Row(d)["state"] = 2),
            ("a scope", d => Row(d)["scope"] = "tenant:other"),
            ("the epoch", d => d[0]["epoch"] = 77),
            ("the time", d => d[0]["exportedAt"] = "2030-01-01T00:00:00+00:00"),
            ("a row left out", d => d.RemoveAt(3)),
            ("the mac key left out", d => d.RemoveAt(1)),
            ("every key left out", d => d.RemoveRange(1, d.Count - 2)),
            ("a row twice", d => d.Insert(2, Row(d).DeepClone().AsObject())),
            ("two rows swapped", d => (d[2], d[3]) = (d[3], d[2])),
            ("a row's mac", d => Row(d)["mac"] = Convert.ToBase64String(new byte[32])),
            ("the number of keys", d => d[^1]["keys"] = 3),
            ("the document's mac", d => d[^1]["mac"] = Convert.ToBase64String(new byte[32])),
        };
        foreach (var (what, change) in changes)
        {
            var document = Lines(text);
            change(document);
            await using var context = Cold();
            var error = await Record.ExceptionAsync(() => new EnvelopeKeys(context).ImportAsync(Stream(string.Join('\n', document.Select(l => l.ToJsonString())))));
            Assert.True(error is KeyRingTamperedException, $"{what}: {error}");
            Assert.Equal(before, await RingAsync(_database));
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("not json")]
    [InlineData("{}")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v1\"}")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v2\",\"ring\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\"}")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v1\",\"ring\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"salt\":null,\"epoch\":1,\"exportedAt\":\"2030-01-01T00:00:00+00:00\"}")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v1\",\"ring\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"epoch\":1,\"exportedAt\":\"2030-01-01T00:00:00+00:00\"}\nnull")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v1\",\"ring\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"epoch\":1,\"exportedAt\":\"2030-01-01T00:00:00+00:00\"}\n{\"keys\":0,\"mac\":\"\"}")]
    public async Task What_is_no_export_is_refused_and_nothing_is_written(string text)
    {
        var before = await RingAsync(_database);
        await using var context = Cold();
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(context).ImportAsync(Stream(text)));
        Assert.Equal(before, await RingAsync(_database));
    }

    [Fact]
    public async Task A_truncated_document_is_refused_at_every_length()
    {
        var text = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        var before = await RingAsync(_database);
        await using var context = Cold();
        for (var length = 0; length < text.Length - 4; length += 37)
        {
            var error = await Record.ExceptionAsync(() => new EnvelopeKeys(context).ImportAsync(Stream(text[..length])));
            Assert.IsType<EnvelopeConfigurationException>(error);
        }

        Assert.IsType<EnvelopeConfigurationException>(await Record.ExceptionAsync(() => new EnvelopeKeys(context).ImportAsync(Stream(text + "{}"))));
        Assert.Equal(before, await RingAsync(_database));
    }

    [Fact]
    public async Task A_document_that_changes_while_it_is_imported_is_refused()
    {
        var text = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        var changed = Lines(text);
        changed.RemoveAt(3);
        await using var source = new SecondRead(Encoding.UTF8.GetBytes(text), Encoding.UTF8.GetBytes(string.Join('\n', changed.Select(l => l.ToJsonString()))));
        await using var context = Cold();
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).ImportAsync(source));
        Assert.Equal(new KeyRingImport(1, 0, 3), await new EnvelopeKeys(context).ImportAsync(Stream(text)));
    }

    [Fact]
    public async Task A_ring_of_many_pages_comes_back_through_a_stream_that_cannot_seek()
    {
        await using (var context = Cold())
        {
            context.AddRange(Enumerable.Range(0, 2_300).Select(i => new PaymentCard { TenantId = TenantA, Number = $"card {i}" }));
            await context.SaveChangesAsync();
        }

        var text = await ExportAsync();
        Assert.Equal(2_301, Lines(text).Count(l => l["kek"] is not null));
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        await using var restored = Cold();
        var source = new Pipe();
        var writing = Task.Run(async () =>
        {
            await source.Writer.WriteAsync(Encoding.UTF8.GetBytes(text));
            await source.Writer.CompleteAsync();
        });
        Assert.Equal(2_304, (await new EnvelopeKeys(restored).ImportAsync(source.Reader.AsStream())).Added + 1);
        await writing;
        Assert.Equal(2_301, (await restored.Cards.AsNoTracking().ToListAsync()).Count(c => c.Number.StartsWith("card", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task An_export_of_another_root_key_is_refused_and_nothing_is_written()
    {
        var document = await ExportAsync();
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\"");
        var before = await RingAsync(_database);
        await using var context = new BankContext(_database.Options(e => e.UseKeyManagementService(new InMemoryKeyManagementService())));
        await Assert.ThrowsAsync<KeyRefusedException>(() => new EnvelopeKeys(context).ImportAsync(Stream(document)));
        Assert.Equal(before, await RingAsync(_database));
    }

    [Fact]
    public async Task The_document_holds_no_plaintext_key()
    {
        var text = await ExportAsync();
        await using var process = new RingProcess(_database, _kms);
        using var pins = new KeyPins();
        var rows = await process.Ring.ListAsync(includeRowKeys: true, process.Store, default);
        var keys = rows.Where(r => r.Purpose == KeyPurpose.Field).Select(r => r.Id).ToList();
        await process.Ring.LoadForOpeningAsync(keys, process.Store, process.Transient, pins, default);
        var bytes = Lines(text).Where(l => l["wrapped"] is not null).SelectMany(l => Convert.FromBase64String(l["wrapped"]!.GetValue<string>())).ToArray();
        var material = new byte[32];
        foreach (var id in keys)
        {
            Assert.True(pins.TryGet(id, out var key));
            key.Key.CopyMaterialTo(material);
            Assert.Equal(-1, bytes.AsSpan().IndexOf(material));
            Assert.DoesNotContain(Convert.ToBase64String(material), text, StringComparison.Ordinal);
            Assert.DoesNotContain(Convert.ToHexString(material), text, StringComparison.OrdinalIgnoreCase);
        }
    }
}

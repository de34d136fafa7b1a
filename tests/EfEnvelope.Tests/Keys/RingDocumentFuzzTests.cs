using System.Text;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Cryptography;

namespace EfEnvelope.Tests.Keys;

/// <summary>Broken ring exports (G8): the parser gives a document or the one typed error, and no document that was changed authenticates.</summary>
public sealed class RingDocumentFuzzTests
{
    private static readonly Guid Ring = Guid.Parse("7c9e6679-7425-40de-944b-e07fc1f90ae7");

    [Fact]
    public async Task Any_damage_to_an_export_is_refused_or_does_not_authenticate()
    {
        using var mac = DataKey.Import(KeyPurpose.Mac, new byte[32]);
        var text = await ExportAsync(mac);
        var random = FuzzRandom.Create(out var seed);
        var (refused, forged, same) = (0, 0, 0);
        for (var round = 0; round < 3_000 * Soak.Factor; round++)
        {
            var damaged = round % 3 == 0 ? FuzzRandom.Damage(random, Encoding.UTF8.GetBytes(text)) : Encoding.UTF8.GetBytes(JsonDamage.ApplyToLine(random, text));
            try
            {
                var (header, entries, isGenuine) = await ReadAsync(damaged, mac);
                if (!isGenuine)
                {
                    forged++;
                }
                else
                {
                    // Another spelling of the same document.
                    Assert.Equal(text, await WriteAsync(header with { ExportedAt = header.ExportedAt.ToUniversalTime() }, entries, mac));
                    same++;
                }
            }
            catch (EnvelopeConfigurationException)
            {
                refused++;
            }
            catch (Exception other)
            {
                Assert.Fail($"Seed {seed}, round {round}: {other}\n{Encoding.UTF8.GetString(damaged)}");
            }
        }

        Assert.True(refused > 0 && forged > 0, $"Seed {seed}: {refused} refused, {forged} forged, {same} the same.");
    }

    [Theory]
    [InlineData("[")]
    [InlineData("{\"keys\":[")]
    [InlineData("{\"keys\":")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v1\",\"ring\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"epoch\":1,\"exportedAt\":\"2030-01-01T00:00:00+00:00\"}\n{\"keys\":")]
    public async Task A_document_that_nests_without_end_is_refused(string piece)
    {
        var document = string.Concat(Enumerable.Repeat(piece, 200_000));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => ReadAsync(Encoding.UTF8.GetBytes(document), null));
    }

    private static async Task<string> ExportAsync(DataKey mac)
    {
        var time = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
        var entries = Enumerable.Range(1, 4).Select(i => KeyMetadataMac.Sign(mac, Ring, new KeyRingEntry
        {
            Id = new Guid(i, 2, 3, [4, 5, 6, 7, 8, 9, 10, 11]),
            Scope = i == 1 ? "global" : $"tenant:{i}",
            Purpose = i == 1 ? KeyPurpose.Mac : KeyPurpose.Field,
            Version = i,
            State = KeyState.Active,
            Wrapped = [1, 2, 3],
            RootKeyId = "memory:root",
            CreatedAt = time,
            ActivatedAt = time,
            Revision = 1,
            Reason = i == 2 ? "because" : null,
            Mac = [],
        })).ToList();
        return await WriteAsync(new RingDocument.Header { Format = RingDocument.CurrentFormat, Ring = Ring, Salt = new byte[16], Epoch = 7, ExportedAt = time }, entries, mac);
    }

    [Theory]
    [InlineData("{\"format\":\"")]
    [InlineData("{\"format\":\"EfEnvelope/ring-export/v1\",\"ring\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"epoch\":1,\"exportedAt\":\"2030-01-01T00:00:00+00:00\"}\n{\"scope\":\"")]
    [InlineData("                          ")]
    public async Task A_line_without_end_is_refused_before_it_is_held(string start)
    {
        await using var source = new EndlessStream(Encoding.UTF8.GetBytes(start));
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => ReadAsync(source, null));
        Assert.IsType<InvalidDataException>(error.InnerException);
        Assert.InRange(source.Read, 1, 4 * 1024 * 1024);
    }

    private static Task<(RingDocument.Header Header, List<KeyRingEntry> Entries, bool IsGenuine)> ReadAsync(byte[] bytes, DataKey? mac) => ReadAsync(new MemoryStream(bytes), mac);

    private static async Task<(RingDocument.Header Header, List<KeyRingEntry> Entries, bool IsGenuine)> ReadAsync(Stream source, DataKey? mac)
    {
        await using var reader = await RingDocumentReader.OpenAsync(source, null, default);
        var entries = await reader.ReadKeysAsync(default).ToListAsync();
        return (reader.Header, entries, mac is not null && reader.IsGenuine(mac));
    }

    private static async Task<string> WriteAsync(RingDocument.Header header, List<KeyRingEntry> entries, DataKey mac)
    {
        using var stream = new MemoryStream();
        using var writer = new RingDocumentWriter(stream, header);
        await writer.BeginAsync(default);
        await writer.AddAsync(entries, default);
        await writer.EndAsync(mac, default);
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    /// <summary>Some bytes, then the letter a for ever.</summary>
    private sealed class EndlessStream(byte[] start) : MemoryStream
    {
        private int _at;

        public new long Read { get; private set; }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var some = Math.Min(start.Length - _at, buffer.Length);
            start.AsSpan(_at, some).CopyTo(buffer.Span);
            buffer.Span[some..].Fill((byte)'a');
            _at += some;
            Read += buffer.Length;
            return ValueTask.FromResult(buffer.Length);
        }
    }
}

using System.Buffers;
using System.Text.Json;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>Writes a ring's document, line by line; what was written before an exception is no whole document. Not thread safe; the stream stays open.</summary>
internal sealed class RingDocumentWriter(Stream target, RingDocument.Header header) : IDisposable
{
    private readonly RingDocumentDigest _digest = new();
    private readonly ArrayBufferWriter<byte> _lines = new();

    public long Keys => _digest.Keys;

    public Task BeginAsync(CancellationToken cancellationToken)
    {
        AddLine(header);
        return FlushAsync(cancellationToken);
    }

    /// <summary>Writes the keys' lines in one go.</summary>
    public Task AddAsync(IEnumerable<KeyRingEntry> entries, CancellationToken cancellationToken)
    {
        foreach (var entry in entries)
        {
            AddLine(RingDocument.Row.Of(entry));
            _digest.Add(header.Ring, entry);
        }

        return FlushAsync(cancellationToken);
    }

    public async Task EndAsync(DataKey macKey, CancellationToken cancellationToken)
    {
        AddLine(new RingDocument.Trailer { Keys = _digest.Keys, Mac = _digest.Compute(macKey, header) });
        await FlushAsync(cancellationToken).ConfigureAwait(false);
        await target.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    public void Dispose() => _digest.Dispose();

    private void AddLine<T>(T line)
    {
        using (var writer = new Utf8JsonWriter(_lines))
        {
            JsonSerializer.Serialize(writer, line, RingDocument.Json);
        }

        _lines.Write("\n"u8);
    }

    private async Task FlushAsync(CancellationToken cancellationToken)
    {
        await target.WriteAsync(_lines.WrittenMemory, cancellationToken).ConfigureAwait(false);
        _lines.ResetWrittenCount();
    }
}

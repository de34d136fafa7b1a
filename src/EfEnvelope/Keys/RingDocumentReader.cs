using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text.Json;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Reads a ring's document, line by line: its header, then its keys, then whether it is genuine. Nothing that it hands out is authenticated before <see cref="IsGenuine"/> says so. Not thread safe; the stream stays open.
/// </summary>
internal sealed class RingDocumentReader : IAsyncDisposable
{
    /// <summary>Far beyond any key's: what a key service answers has some hundred bytes, a reason and a scope at most a few thousand.</summary>
    private const int MaxLine = 1024 * 1024;

    private readonly RingDocumentDigest _digest = new();
    private readonly PipeReader _source;
    private readonly Func<Exception?, Exception> _damaged;
    private RingDocument.Trailer? _trailer;

    private RingDocumentReader(Stream source, Func<Exception?, Exception> damaged) => (_source, _damaged) = (PipeReader.Create(source, new StreamPipeReaderOptions(leaveOpen: true)), damaged);

    public RingDocument.Header Header { get; private set; } = null!;

    /// <summary>Reads the first line.</summary>
    /// <param name="source">The document, from where the stream stands.</param>
    /// <param name="damaged">Makes the error for what is no document, or no whole one; null for the one of a document that nothing is known of.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <exception cref="EnvelopeConfigurationException">It is no export of a ring, or of a format that this version does not know.</exception>
    public static async Task<RingDocumentReader> OpenAsync(Stream source, Func<Exception?, Exception>? damaged, CancellationToken cancellationToken)
    {
        var reader = new RingDocumentReader(source, damaged ?? Damaged);
        try
        {
            reader.Header = await reader.ReadLineAsync(HeaderOf, cancellationToken).ConfigureAwait(false);
            return reader;
        }
        catch
        {
            await reader.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>The keys, once, up to the last line.</summary>
    /// <exception cref="EnvelopeConfigurationException">The document ends before its last line, goes on behind it, or a line is no key.</exception>
    public async IAsyncEnumerable<KeyRingEntry> ReadKeysAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            var (entry, trailer) = await ReadLineAsync(LineOf, cancellationToken).ConfigureAwait(false);
            if (entry is not null)
            {
                _digest.Add(Header.Ring, entry);
                yield return entry;
                continue;
            }

            if (await ReadElementAsync(cancellationToken).ConfigureAwait(false) is not null)
            {
                throw _damaged(null);
            }

            _trailer = trailer;
            yield break;
        }
    }

    /// <summary>Whether what was read is what the ring wrote. After <see cref="ReadKeysAsync"/> came to its end; false before.</summary>
    public bool IsGenuine(DataKey macKey) => _trailer is { } trailer && trailer.Keys == _digest.Keys && CryptographicOperations.FixedTimeEquals(_digest.Compute(macKey, Header), trailer.Mac);

    public ValueTask DisposeAsync()
    {
        _digest.Dispose();
        return _source.CompleteAsync();
    }

    private static RingDocument.Header HeaderOf(JsonElement line)
    {
        if (line.TryGetProperty("format", out var format) && format.ValueKind == JsonValueKind.String && !format.ValueEquals(RingDocument.CurrentFormat))
        {
            throw new EnvelopeConfigurationException(
                $"The document is a ring export of another format than '{RingDocument.CurrentFormat}'. Import it with the version of EfEnvelope that wrote it, or a newer one. Nothing was written.");
        }

        return Parse<RingDocument.Header>(line) is { Salt.Length: 16, Format: RingDocument.CurrentFormat } header ? header : throw new JsonException();
    }

    private static (KeyRingEntry? Entry, RingDocument.Trailer? Trailer) LineOf(JsonElement line)
        => line.TryGetProperty("keys", out _) ? (null, Parse<RingDocument.Trailer>(line) is { Mac.Length: 32 } trailer ? trailer : throw new JsonException()) : (Parse<RingDocument.Row>(line).ToEntry(), null);

    private static T Parse<T>(JsonElement line)
        where T : class => line.Deserialize<T>(RingDocument.Json) ?? throw new JsonException();

    private static EnvelopeConfigurationException Damaged(Exception? error)
        => new("The document is no key ring export, or is truncated or damaged. Take another copy. Nothing was written.", error);

    private async Task<T> ReadLineAsync<T>(Func<JsonElement, T> parse, CancellationToken cancellationToken)
    {
        if (await ReadElementAsync(cancellationToken).ConfigureAwait(false) is not { ValueKind: JsonValueKind.Object } line)
        {
            throw _damaged(null);
        }

        try
        {
            return parse(line);
        }
        catch (Exception error) when (error is JsonException or FormatException or ArgumentException or NotSupportedException)
        {
            throw _damaged(error);
        }
    }

    /// <summary>The value of the next line that is not empty; null at the end. A line is one whole value, and nobody may make the process hold more than one of its greatest length: nothing is proven yet.</summary>
    private async ValueTask<JsonElement?> ReadElementAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var read = await _source.ReadAsync(cancellationToken).ConfigureAwait(false);
            var end = read.Buffer.PositionOf((byte)'\n');
            var line = end is { } at ? read.Buffer.Slice(0, at) : read.Buffer;
            if (line.Length > MaxLine)
            {
                throw _damaged(new InvalidDataException());
            }

            if (end is null && !read.IsCompleted)
            {
                _source.AdvanceTo(read.Buffer.Start, read.Buffer.End);
                continue;
            }

            var element = Parse(line);
            _source.AdvanceTo(end is { } behind ? read.Buffer.GetPosition(1, behind) : read.Buffer.End);
            if (element is not null || end is null)
            {
                return element;
            }
        }
    }

    private JsonElement? Parse(ReadOnlySequence<byte> line)
    {
        if (line.IsEmpty)
        {
            return null;
        }

        try
        {
            using var document = JsonDocument.Parse(line, new JsonDocumentOptions { AllowDuplicateProperties = false });
            return document.RootElement.Clone();
        }
        catch (JsonException error)
        {
            throw _damaged(error);
        }
    }
}
